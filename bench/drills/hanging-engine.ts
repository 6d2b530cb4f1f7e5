import type { Drill } from './drill.ts'
import { areConnected, HurtEngine, twoInstances } from './engine.ts'

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

  async run(scene) {
    const engine = await HurtEngine.start(scene)
    const { instances, traffic } = await twoInstances(scene, engine)
    await scene.ticks(12, traffic)
    scene.faultBegins('Redis hangs')
    engine.hang()
    await scene.ticks(30, traffic)
    scene.repaired('Redis goes on')
    engine.goOn()
    await areConnected(scene, instances)
    await scene.ticks(28, traffic)
  },
}
