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

  async run(scene) {
    const names = ['chat-1', 'chat-2']
    const instances = [await scene.serve('chat-1', {}), await scene.serve('chat-2', {})]
    const ports = instances.map(({ port }) => port)
    const proxy = await FrontProxy.start(scene, ports)
    const clients = await LastingClients.connect(scene, proxy.url, 120)
    await scene.ticks(12)
    scene.faultBegins('the deploy begins')
    for (const [index, { hub, server, port }] of instances.entries()) {
      proxy.targets = ports.filter((other) => other !== port) // its readiness probe answers 503
      const closing = hub.close({ timeoutMs: 5_000, batch: 15, everyMs: 10 })
      while (hub.state === 'closing') await scene.ticks(1)
      await closing
      server.close()
      await scene.serve(names[index] ?? '', {}, {}, port)
      proxy.targets = ports
      await scene.ticks(2)
    }
    await clients.areBack(scene)
    scene.repaired('it is over')
    await scene.ticks(24)
  },
}
