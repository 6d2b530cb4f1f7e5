import type { Drill } from './drill.ts'
import { FrontProxy } from './front-proxy.ts'
import { LastingClients } from './lasting-clients.ts'

export const reconnectStorm: Drill = {
  title: 'A proxy is restarted, and all clients come back at once',
  stepSeconds: 15,
  tickMs: 10,
  alarms: ['WshubReconnectStorm'],
  panels: ['Upgrades', 'Ends of connections', 'Connections of each process'],
  verdict:
    'The connections before the storm ended with "network: lost": no side has closed them. So it was neither ' +
    'a deploy nor a rule of the hub, but what lies between: a proxy, a load balancer or the network.',

  async run(scene) {
    const { port, hub } = await scene.serve('chat-1', {})
    const proxy = await FrontProxy.start(scene, [port])
    const clients = await LastingClients.connect(scene, proxy.url, 120)
    const traffic = () => void hub.broadcast('what is said')
    await scene.ticks(12, traffic)
    scene.faultBegins('the proxy is restarted')
    proxy.cut()
    await scene.ticks(2, traffic)
    await clients.areBack(scene)
    scene.repaired('all are back')
    await scene.ticks(24, traffic)
  },
}
