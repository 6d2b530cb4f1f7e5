// What every server process has in common: it answers the calls of bench/index.ts over IPC, paces the broadcasts, and
// measures itself. What differs is the `peer` given to serve():
//
//   version              of the library, printed in the tables
//   listen(options)      starts the server on 127.0.0.1, resolves with its port; options are
//     answer               what becomes of a client's message: 'echo', 'broadcast' (to everyone in room 0), or nothing
//     rooms                how many rooms there are; a client names its own in the query: /?rooms=3,7
//     compression          whether permessage-deflate is on
//   broadcast(room, text)  sends to every member of a room

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { makePayload, seededRandom } from './payload.mjs'

const random = seededRandom(20)

export function serve(peer) {
  const sentToRoom = []
  let round
  let roundDelay
  let onAcknowledged = () => {}
  let samplePeak = () => {}

  const calls = {
    async listen(options) {
      return { port: await peer.listen(options), version: peer.version }
    },

    /** Sends `messages` messages to rooms drawn at random, `perTurn` of them in each turn of the event loop, and never
     * has more than `inFlight` that the clients did not acknowledge. Resolves when the last one is sent. */
    broadcast({ messages, perTurn, inFlight, rooms, payloadBytes }) {
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
            peer.broadcast(String(room), makePayload(room, number, payloadBytes))
            if (sent % 1_000 === 0) samplePeak() // in a long turn no timer runs
          }
          if (sent < messages) setImmediate(turn)
          else resolve()
        }
        setImmediate(turn)
      })
    },

    /** Starts the clock. The event loop's delay is measured in passes of their own, because the sampling costs. */
    beginRound({ sampleLoopDelay }) {
      roundDelay = sampleLoopDelay ? startLoopDelay() : undefined
      round = { cpu: process.cpuUsage(), wallMs: performance.now() }
    },

    /** What the server spent since `beginRound`, in all its threads. */
    endRound() {
      const cpu = process.cpuUsage(round.cpu)
      const wallMs = performance.now() - round.wallMs
      roundDelay?.disable()
      return {
        cpuMicros: cpu.user + cpu.system,
        wallMs,
        loopDelayP99Ms: roundDelay && roundDelay.percentile(99) / 1e6,
        loopDelayMaxMs: roundDelay && roundDelay.max / 1e6,
      }
    },

    /** Resident memory and heap, after collecting garbage when the process runs with --expose-gc. */
    async memory() {
      for (let pass = 0; pass < 4 && globalThis.gc; pass++) {
        globalThis.gc()
        await sleep(100)
      }
      const { rss, heapUsed } = process.memoryUsage()
      return { rssBytes: rss, heapBytes: heapUsed }
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
  }

  process.on('message', async ({ id, call, options, acknowledged }) => {
    if (acknowledged) return onAcknowledged(acknowledged)
    try {
      process.send({ id, result: await calls[call](options) })
    } catch (error) {
      process.send({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
    }
  })
  process.on('disconnect', () => process.exit())
}

/** The rooms that a request asks for. */
export function roomsOf(url) {
  return /[?&]rooms=([\d,]+)/.exec(url)?.[1].split(',') ?? []
}

/** Listens on a free port of the loopback interface and resolves with the port. */
export function listenOnLoopback(server) {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => resolve(server.address().port))
  })
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
