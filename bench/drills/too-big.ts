import type { Drill } from './drill.ts'
import { LastingClients } from './lasting-clients.ts'

const LIMIT_BYTES = 65_536

export const tooBig: Drill = {
  title: 'A new version of the page sends messages that are too big',
  stepSeconds: 15,
  tickMs: 20,
  alarms: ['WshubClientsBreakRules'],
  panels: ['Ends of connections', 'Upgrades', 'Connections of each process'],
  verdict:
    'The hub ends connections for the reason tooBig, and the clients come back and do it again: the page and ' +
    'maxMessageSize disagree.',

  async run(system) {
    const instance = await system.serve('chat-1', { maxMessageSize: LIMIT_BYTES })
    const { url } = instance
    const good = await LastingClients.connect(system, url, 20)
    const bad = await LastingClients.connect(system, url, 5)
    await system.ticks(24, () => {
      good.send('small')
      bad.send('small')
    })
    system.faultBegins('five pages are new')
    const picture = 'x'.repeat(LIMIT_BYTES + 1)
    const fault = () => {
      good.send('small')
      bad.send(picture)
    }
    await system.ticks(44, fault)
    await system.screenshot(instance, fault, 'ends')
    await system.ticks(4, fault)
    system.repaired('the page is rolled back')
    await system.ticks(28, () => good.send('small'))
  },
}
