/** Decorators of Nest, applied by hand: no compiler option is needed. */
import type { Type } from '@nestjs/common'
import { SubscribeMessage, WebSocketGateway } from '@nestjs/websockets'
import type { GatewayOptions } from 'wshub/nest'

interface Decorations {
  readonly class?: readonly ClassDecorator[]
  /** Of methods and properties. */
  readonly members?: Readonly<Record<string, readonly (MethodDecorator | PropertyDecorator)[]>>
  /** Of the parameters of methods, in their order. */
  readonly parameters?: Readonly<Record<string, readonly ParameterDecorator[]>>
}

/** Decorates a class as `experimentalDecorators` does. */
export function decorate<Class extends Type>(target: Class, decorations: Decorations): Class {
  const prototype: object = target.prototype
  for (const [name, decorators] of Object.entries(decorations.parameters ?? {})) {
    for (const [index, decorator] of decorators.entries()) decorator(prototype, name, index)
  }
  for (const [name, decorators] of Object.entries(decorations.members ?? {})) {
    const descriptor = descriptorOf(prototype, name)
    // The decorators of a property take no descriptor.
    for (const decorator of decorators.toReversed())
      (decorator as MethodDecorator)(prototype, name, descriptor ?? {})
  }
  for (const decorator of decorations.class?.toReversed() ?? []) decorator(target)
  return target
}

/** Makes a gateway of a class. Each method that Nest itself does not call handles the event of its name. */
export function gateway<Class extends Type>(
  options: GatewayOptions,
  target: Class,
  decorations: Decorations = {},
): Class {
  const own = ['constructor', 'afterInit', 'handleConnection', 'handleDisconnect', 'onModuleInit']
  const events = methodsOf(target.prototype).filter((name) => !own.includes(name))
  const members = Object.fromEntries(
    [...new Set([...events, ...Object.keys(decorations.members ?? {})])].map((name) => [
      name,
      [...(events.includes(name) ? [SubscribeMessage(name)] : []), ...(decorations.members?.[name] ?? [])],
    ]),
  )
  return decorate(target, {
    ...decorations,
    class: [WebSocketGateway<GatewayOptions>(options), ...(decorations.class ?? [])],
    members,
  })
}

/** The names of the methods of a class, also of those that it inherits. */
function methodsOf(prototype: object | null): string[] {
  if (prototype === null || prototype === Object.prototype) return []
  return [...Object.getOwnPropertyNames(prototype), ...methodsOf(Object.getPrototypeOf(prototype))]
}

function descriptorOf(prototype: object | null, name: string): PropertyDescriptor | undefined {
  if (prototype === null) return undefined
  return (
    Object.getOwnPropertyDescriptor(prototype, name) ?? descriptorOf(Object.getPrototypeOf(prototype), name)
  )
}
