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

  async run(system) {
    const { port, hub } = await system.serve('chat-1', {})
    const proxy = await FrontProxy.start(system, [port])
    const clients = await LastingClients.connect(system, proxy.url, 120)
    const traffic = () => void hub.broadcast('what is said')
    await system.ticks(12, traffic)
    system.faultBegins('the proxy is restarted')
    proxy.cut()
    await system.ticks(2, traffic)
    await clients.areBack(system)
    system.repaired('all are back')
    await system.ticks(24, traffic)
  },
}
