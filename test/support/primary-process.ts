/** A primary for a test: its arguments are the file of the workers, and the serialization. */
import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { type NodeClusterOptions, serveNodeCluster } from 'wshub/node-cluster'
import { answer, isAnswer, isCall, type Methods } from './call.ts'

const [, , exec = '', serialization] = process.argv
cluster.setupPrimary({ exec, args: [], serialization: serialization === 'json' ? 'json' : 'advanced' })

const workers: (Worker | undefined)[] = []
const dead: WeakRef<Worker>[] = []
let stop = () => {}

const methods: Methods = {
  serve(options?: NodeClusterOptions) {
    stop = serveNodeCluster(options)
  },

  stop() {
    stop()
  },

  async fork(index: number) {
    const worker = cluster.fork()
    workers[index] = worker
    await once(worker, 'message') // its first message: it is listening
    return worker.process.pid
  },

  async kill(index: number) {
    const worker = workers[index]
    if (worker === undefined) throw new Error('no worker')
    worker.process.kill('SIGKILL')
    await once(worker, 'exit')
    dead.push(new WeakRef(worker))
    workers[index] = undefined
  },

  signal(index: number, signal: NodeJS.Signals) {
    workers[index]?.process.kill(signal)
  },

  /** Returns how many killed workers are still referenced. */
  held() {
    globalThis.gc?.()
    return dead.filter((worker) => worker.deref() !== undefined).length
  },
}

cluster.on('message', (_worker, message: unknown) => {
  if (isAnswer(message)) process.send?.(message)
  if (isCall(message)) void answer(methods, message).then((reply) => _worker.send(reply))
})

process.on('message', async (message: unknown) => {
  if (!isCall(message)) return
  if (message.to < 0) process.send?.(await answer(methods, message))
  else workers[message.to]?.send(message)
})
process.on('disconnect', () => process.exit())
