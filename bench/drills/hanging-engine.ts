import type { Drill } from './drill.ts'
import { areConnected, FaultyRedis, twoInstances } from './faulty-redis.ts'

export const hangingEngine: Drill = {
  title: 'The engine of the backplane hangs: it keeps its connections, and answers nothing',
  stepSeconds: 15,
  tickMs: 60,
  alarms: ['WshubClusterAway'],
  panels: [
    'Processes by state of the cluster',
    'Messages between processes',
    'Way through the engine and back',
  ],
  verdict:
    'No message comes back from the engine, although it accepts them: none is lost, and they arrive late. With ' +
    'a dead engine they would count as not published. The state changes only after heartbeatTimeoutMs.',

  async run(system) {
    const engine = await FaultyRedis.start(system)
    const { instances, traffic } = await twoInstances(system, engine)
    await system.ticks(12, traffic)
    system.faultBegins('Redis hangs')
    engine.hang()
    await system.ticks(30, traffic)
    system.repaired('Redis goes on')
    engine.goOn()
    await areConnected(system, instances)
    await system.ticks(28, traffic)
  },
}
