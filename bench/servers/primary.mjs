// The primary of a node:cluster under measurement: starts the workers, and passes their calls on to them.

import cluster from 'node:cluster'
import { once } from 'node:events'
import { answerCalls } from './answer-calls.mjs'

/** Answers the calls of the benchmark until its channel closes. */
export function servePrimary() {
  const workers = []
  const pending = new Map()
  let lastId = 0
  let round

  cluster.on('message', (_worker, { id, result, error }) => {
    const settle = pending.get(id)
    if (settle === undefined) return // for the backplane or the adapter
    pending.delete(id)
    settle({ result, error })
  })

  cluster.on('exit', () => process.exit(1)) // it has printed why

  const calls = {
    /** Resolves when all workers accept calls: earlier calls are lost. */
    async start({ workers: count }) {
      for (let index = 0; index < count; index++) workers.push(cluster.fork())
      await Promise.all(workers.map((worker) => once(worker, 'message')))
    },
    /** A call of one worker. */
    worker({ index, call, options }) {
      const id = `bench ${++lastId}`
      return new Promise((resolve, reject) => {
        pending.set(id, ({ result, error }) =>
          error === undefined ? resolve(result) : reject(new Error(error)),
        )
        workers[index].send({ id, call, options })
      })
    },
    beginRound() {
      round = { wallMs: performance.now(), cpu: process.cpuUsage() }
    },
    endRound() {
      const cpu = process.cpuUsage(round.cpu)
      return { cpuMicros: cpu.user + cpu.system, wallMs: performance.now() - round.wallMs }
    },
  }

  answerCalls(calls)
}
