import type { Drill } from './drill.ts'
import { FrontProxy } from './front-proxy.ts'
import { LastingClients } from './lasting-clients.ts'

export const deploy: Drill = {
  title: 'Two instances are replaced, one after the other',
  stepSeconds: 15,
  tickMs: 10,
  alarms: ['WshubReconnectStorm'],
  panels: ['Connections of each process', 'Ends of connections', 'Upgrades'],
  verdict:
    'All ends are "hub: shutdown", and none is "lost": a deploy that went as it should, but both instances ' +
    'within two minutes. With more time between them the alarm stays silent.',

  async run(system) {
    const names = ['chat-1', 'chat-2']
    const instances = [await system.serve('chat-1', {}), await system.serve('chat-2', {})]
    const ports = instances.map(({ port }) => port)
    const proxy = await FrontProxy.start(system, ports)
    const clients = await LastingClients.connect(system, proxy.url, 120)
    await system.ticks(12)
    system.faultBegins('the deploy begins')
    for (const [index, { hub, server, port }] of instances.entries()) {
      proxy.targets = ports.filter((other) => other !== port) // its readiness probe answers 503
      const closing = hub.close({ timeoutMs: 5_000, batch: 15, everyMs: 10 })
      while (hub.state === 'closing') await system.ticks(1)
      await closing
      server.close()
      await system.serve(names[index] ?? '', {}, {}, port)
      proxy.targets = ports
      await system.ticks(2)
    }
    await clients.areBack(system)
    system.repaired('it is over')
    await system.ticks(24)
  },
}
