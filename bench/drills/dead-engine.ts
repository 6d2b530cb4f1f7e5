import type { Drill } from './drill.ts'
import { areConnected, HurtEngine, twoInstances } from './engine.ts'

export const deadEngine: Drill = {
  title: 'The engine of the backplane is killed',
  stepSeconds: 15,
  tickMs: 30,
  alarms: ['WshubClusterAway', 'WshubClusterMessagesLost'],
  panels: ['Processes by state of the cluster', 'Messages that went wrong', 'Nodes that each process knows'],
  verdict:
    'All instances are away from the cluster at the same moment: it is the engine, not one of them. They know ' +
    'it at once, and no message is published meanwhile.',

  async run(scene) {
    const engine = await HurtEngine.start(scene)
    const { instances, traffic } = await twoInstances(scene, engine)
    await scene.ticks(12, traffic)
    scene.faultBegins('Redis is killed')
    await engine.kill()
    await scene.ticks(20, traffic)
    const [first] = instances
    await scene.photograph(first, traffic)
    await scene.ticks(4, traffic)
    scene.repaired('Redis is started')
    await engine.restart()
    await areConnected(scene, instances)
    await scene.ticks(28, traffic)
  },
}
