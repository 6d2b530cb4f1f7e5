import { WebSocket } from 'ws'
import type { Drill } from './drill.ts'

const ATTEMPTS = 20

export const refusedOrigin: Drill = {
  title: 'A page under a new name tries to connect, and its origin is not allowed',
  stepSeconds: 15,
  tickMs: 5,
  alarms: ['WshubOriginsRefused'],
  panels: ['Upgrades', 'Connections of each process'],
  verdict:
    'Upgrades are refused with WSHUB_ERR_ORIGIN, and with nothing else, while those of the old page are ' +
    'accepted. The inspector and the log name the origin: add it to allowedOrigins, if it is yours.',

  async run(system) {
    const instance = await system.serve('chat-1', { allowedOrigins: ['https://chat.example'] })
    const { url, hub } = instance
    await system.connect(url, 10)
    const traffic = () => void hub.broadcast('what is said')
    await system.ticks(24, traffic)
    system.faultBegins('the page moves to another name')
    const fault = async () => {
      traffic()
      await Promise.all(Array.from({ length: ATTEMPTS }, () => attempt(url)))
    }
    await system.ticks(60, fault)
    await system.screenshot(instance, () => attempt(url), 'refusals')
    await system.ticks(4, fault)
    system.repaired('the name is allowed')
    await system.ticks(24, traffic)
  },
}

/** Resolves when the hub has refused a connection. */
async function attempt(url: string): Promise<void> {
  const client = new WebSocket(url, { origin: 'https://new.example' })
  client.on('error', () => {}) // the refusal
  await new Promise((resolve) => client.once('close', resolve))
}
