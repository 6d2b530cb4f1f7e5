// The code that all server processes share: it answers the calls of bench/index.ts over IPC, paces the
// broadcasts, and measures its own process. Each library passes its `peer` to serve():
//
//   version              the version of the library, printed in the tables
//   listen(options)      starts the server on 127.0.0.1, resolves with its port; the options are
//     answer               what to do with a client's message: 'echo', 'broadcast' (to everyone in room 0),
//                          or nothing
//     rooms                the number of rooms; a client names its own in the query: /?rooms=3,7
//     compression          whether permessage-deflate is on; or settings of it, in the library's own words
//     history              whether rooms have a history in memory; only wshub has it
//     writeDelayMs         how long messages wait for others; likewise
//   broadcast(room, text)  sends to every member of a room
//   publish(text)        sends to everyone; resolves when the message is stored, rejects when it is refused
//   join(index, room)    makes one of the clients join a room; leave() likewise
//   calls                further calls, only for this peer

import cluster from 'node:cluster'
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { answerCalls } from './answer-calls.mjs'
import { feedText } from './feeds.mjs'
import { makePayload, seededRandom } from './payload.mjs'

const random = seededRandom(20)

export function serve(peer) {
  const sentToRoom = []
  let churned = 0
  let round
  let roundDelay
  let stopTurns
  let onAcknowledged = () => {}
  let samplePeak = () => {}

  const calls = {
    async listen(options) {
      return { port: await peer.listen(options), version: peer.version }
    },

    /**
     * Sends `messages` messages to random rooms, `perTurn` of them in each turn of the event loop, and waits
     * while more than `inFlight` are not acknowledged by the clients. Resolves when the last one is sent.
     * They are those of `feed`, if there is one.
     */
    broadcast({ messages, perTurn, inFlight, rooms, payloadBytes, feed }) {
      return new Promise((resolve) => {
        let sent = 0
        let acknowledged = 0
        let waiting = false
        onAcknowledged = (count) => {
          acknowledged += count
          if (!waiting) return
          waiting = false
          setImmediate(turn)
        }
        const turn = () => {
          if (sent + perTurn - acknowledged > inFlight) {
            waiting = true
            return
          }
          const last = Math.min(messages, sent + perTurn)
          for (; sent < last; sent++) {
            const room = rooms === 1 ? 0 : Math.floor(random() * rooms)
            const number = sentToRoom[room] ?? 0
            sentToRoom[room] = number + 1
            const text = feed === undefined ? makePayload(room, number, payloadBytes) : feedText(feed, number)
            peer.broadcast(String(room), text)
            if (sent % 1_000 === 0) samplePeak() // in a long turn no timer runs
          }
          if (sent < messages) setImmediate(turn)
          else resolve()
        }
        setImmediate(turn)
      })
    },

    /**
     * Sends to random rooms, `perTurn` messages every `everyMs`, as one of several publishers. A late turn is
     * not made up for. Resolves when the last one is sent.
     */
    publish({ messages, perTurn, everyMs, publisher, rooms, payloadBytes }) {
      const random = seededRandom(publisher + 1)
      return new Promise((resolve) => {
        let sent = 0
        const timer = setInterval(() => {
          for (const last = Math.min(messages, sent + perTurn); sent < last; sent++) {
            const room = Math.floor(random() * rooms)
            const number = sentToRoom[room] ?? 0
            sentToRoom[room] = number + 1
            peer.broadcast(String(room), makePayload(publisher * rooms + room, number, payloadBytes))
          }
          if (sent < messages) return
          clearInterval(timer)
          resolve()
        }, everyMs)
      })
    },

    /**
     * Publishes a message every `everyMs`, the first one with number `first`. Delays are made up for.
     * Resolves when the last one is stored, with the numbers of those that were refused.
     */
    feed({ first = 0, messages, everyMs, payloadBytes }) {
      return new Promise((resolve) => {
        const start = performance.now()
        const refused = []
        let sent = 0
        let settled = 0
        const settle = () => {
          settled++
          if (settled === messages) resolve({ refused })
        }
        const timer = setInterval(() => {
          const due = Math.min(messages, Math.floor((performance.now() - start) / everyMs))
          while (sent < due) {
            const number = first + sent++
            peer
              .publish(makePayload(0, number, payloadBytes))
              .catch(() => refused.push(number))
              .then(settle)
          }
          if (sent === messages) clearInterval(timer)
        }, 5)
      })
    },

    /**
     * Makes clients join rooms without other members, and leave each after `holdMs`. Delays are made up for.
     * Resolves with the number of rooms joined in a second.
     */
    churn({ roomsPerSecond, seconds, holdMs }) {
      return new Promise((resolve) => {
        const start = performance.now()
        const all = roomsPerSecond * seconds
        const held = (holdMs / 1000) * roomsPerSecond
        let joined = 0
        let left = 0
        const timer = setInterval(() => {
          const due = Math.min(all, Math.floor(((performance.now() - start) / 1000) * roomsPerSecond))
          for (; joined < due; joined++) peer.join(joined, `churn ${churned + joined}`)
          const over = joined === all ? all : joined - held
          for (; left < over; left++) peer.leave(left, `churn ${churned + left}`)
          if (left < all) return
          clearInterval(timer)
          churned += all
          resolve(all / ((performance.now() - start) / 1000))
        }, 5)
      })
    },

    /**
     * Starts the clock. The event loop's delay is measured in separate passes, because sampling it costs CPU
     * time.
     */
    beginRound({ sampleLoopDelay }) {
      roundDelay = sampleLoopDelay ? startLoopDelay() : undefined
      stopTurns = sampleLoopDelay ? startTurns() : undefined
      round = { readBytes: readBytes(), wallMs: performance.now(), cpu: process.cpuUsage() }
    },

    /** The resources that the server spent since `beginRound`, in all its threads. */
    endRound() {
      const cpu = process.cpuUsage(round.cpu)
      const wallMs = performance.now() - round.wallMs
      roundDelay?.disable()
      const turnMaxCpuMs = stopTurns?.()
      return {
        cpuMicros: cpu.user + cpu.system,
        wallMs,
        readBytes: readBytes() - round.readBytes,
        loopDelayP99Ms: roundDelay && roundDelay.percentile(99) / 1e6,
        loopDelayMaxMs: roundDelay && roundDelay.max / 1e6,
        turnMaxCpuMs,
      }
    },

    /** Resident memory, heap, and heap with buffers, after a garbage collection if --expose-gc is given. */
    async memory() {
      for (let pass = 0; pass < 4 && globalThis.gc; pass++) {
        globalThis.gc()
        await sleep(100)
      }
      globalThis.gc?.() // a server that is fed goes on making garbage meanwhile, the more on a busy machine
      const { rss, heapUsed, external } = process.memoryUsage()
      return { rssBytes: rss, heapBytes: heapUsed, heldBytes: heapUsed + external }
    },

    /** Samples resident memory until `endPeak`, which resolves with the highest sample. */
    beginPeak() {
      let peak = 0
      samplePeak = () => {
        peak = Math.max(peak, process.memoryUsage.rss())
      }
      const timer = setInterval(samplePeak, 5)
      calls.endPeak = () => {
        clearInterval(timer)
        samplePeak()
        return peak
      }
    },

    ...peer.calls,
  }

  process.on('message', ({ acknowledged }) => {
    if (acknowledged) onAcknowledged(acknowledged)
  })
  answerCalls(calls)
  if (cluster.isWorker) process.send({ isServing: true })
}

/** The rooms that a request asks for. */
export function roomsOf(url) {
  return /[?&]rooms=([\d,]+)/.exec(url)?.[1].split(',') ?? []
}

/**
 * Listens on a free port of the loopback interface, a different one for each worker, and resolves with the
 * port.
 */
export function listenOnLoopback(server) {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port: 0, host: '127.0.0.1', backlog: 4096, exclusive: true }, () =>
      resolve(server.address().port),
    )
  })
}

/** Bytes that the process has read so far: sockets and files, not its IPC. `NaN` without /proc. */
function readBytes() {
  try {
    return Number(/^rchar: (\d+)/.exec(readFileSync('/proc/self/io', 'latin1'))?.[1])
  } catch {
    return Number.NaN
  }
}

/**
 * Measures the most CPU time that the main thread takes between two chances for a timer, until the returned
 * function is called, which returns it in ms. On a busy machine the delay of the loop is mostly that of the
 * scheduler. Threads that compile or collect garbage meanwhile do not keep the loop from going on.
 */
function startTurns() {
  let last = mainThreadMs()
  let max = 0
  const timer = setInterval(() => {
    const now = mainThreadMs()
    max = Math.max(max, now - last)
    last = now
  }, 1)
  return () => {
    clearInterval(timer)
    return max
  }
}

/** CPU time of the main thread in ms; of all threads without /proc. */
function mainThreadMs() {
  try {
    return Number.parseInt(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1'), 10) / 1e6
  } catch {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1_000
  }
}

function startLoopDelay() {
  try {
    const histogram = monitorEventLoopDelay({ resolution: 1 })
    histogram.enable()
    return histogram
  } catch {
    return undefined // a runtime without it
  }
}
