import { onTestFinished } from 'vitest'
import type { Backplane, BackplaneState } from 'wshub'
import { eventually, Journal } from '../support/hub-server.ts'

/** A started backplane, closed after the test, and all its events, in order. */
export class Node {
  readonly backplane: Backplane
  /** `channel: text`. */
  readonly messages = new Journal<string>()
  readonly states = new Journal<BackplaneState>()
  readonly errors = new Journal<Error>()

  private constructor(backplane: Backplane) {
    this.backplane = backplane
    onTestFinished(() => backplane.close())
  }

  static async start(backplane: Backplane): Promise<Node> {
    const node = new Node(backplane)
    await node.begin()
    return node
  }

  /** A backplane that the test starts. */
  static of(backplane: Backplane): Node {
    return new Node(backplane)
  }

  begin(): Promise<void> {
    return this.backplane.start({
      onMessage: (channel, bytes) => this.messages.push(`${channel}: ${bytes.toString()}`),
      onStateChange: (state) => this.states.push(state),
      onError: (error) => this.errors.push(error),
    })
  }

  publish(channel: string, text: string): boolean {
    return this.backplane.publish(channel, Buffer.from(text))
  }

  async heard(channel: string, text: string): Promise<void> {
    await this.messages.first(`"${text}" on ${channel}`, (message) => message === `${channel}: ${text}`)
  }

  /** Resolves when the state is this one. */
  async became(state: BackplaneState): Promise<void> {
    await eventually(
      `the state "${state}"`,
      () => this.backplane.state === state,
      () => ({ states: this.states.all, errors: this.errors.all.map(String) }),
    )
  }
}

/** Checks that a message of each node reaches each of them, once. */
export async function flows(nodes: readonly Node[], channel: string, text: string): Promise<void> {
  for (const [index, node] of nodes.entries()) {
    await eventually(
      'publish() to accept',
      () => node.publish(channel, `${text} ${index}`),
      () => node.backplane.state,
    )
  }
  for (const node of nodes) {
    for (const index of nodes.keys()) await node.heard(channel, `${text} ${index}`)
    const got = node.messages.all.filter((message) => message.startsWith(`${channel}: ${text} `))
    if (got.length !== nodes.length) throw new Error(`Something came twice: ${got.join(', ')}`)
  }
}
