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

  async run(scene) {
    const instance = await scene.serve('chat-1', { maxMessageSize: LIMIT_BYTES })
    const { url } = instance
    const good = await LastingClients.connect(scene, url, 20)
    const bad = await LastingClients.connect(scene, url, 5)
    await scene.ticks(24, () => {
      good.send('small')
      bad.send('small')
    })
    scene.faultBegins('five pages are new')
    const picture = 'x'.repeat(LIMIT_BYTES + 1)
    const fault = () => {
      good.send('small')
      bad.send(picture)
    }
    await scene.ticks(44, fault)
    await scene.photograph(instance, fault, 'ends')
    await scene.ticks(4, fault)
    scene.repaired('the page is rolled back')
    await scene.ticks(28, () => good.send('small'))
  },
}
