import type { Drill } from './drill.ts'
import { areConnected, FaultyRedis, twoInstances } from './faulty-redis.ts'

export const deadEngine: Drill = {
  title: 'The engine of the backplane is killed',
  stepSeconds: 15,
  tickMs: 30,
  alarms: ['WshubClusterAway', 'WshubClusterMessagesLost'],
  panels: ['Processes by state of the cluster', 'Messages that went wrong', 'Nodes that each process knows'],
  verdict:
    'All instances are away from the cluster at the same moment: it is the engine, not one of them. They know ' +
    'it at once, and no message is published meanwhile.',

  async run(system) {
    const engine = await FaultyRedis.start(system)
    const { instances, traffic } = await twoInstances(system, engine)
    await system.ticks(12, traffic)
    system.faultBegins('Redis is killed')
    await engine.kill()
    await system.ticks(20, traffic)
    const [first] = instances
    await system.screenshot(first, traffic)
    await system.ticks(4, traffic)
    system.repaired('Redis is started')
    await engine.restart()
    await areConnected(system, instances)
    await system.ticks(28, traffic)
  },
}
