import { fileURLToPath } from 'node:url'
import { median, type Result } from './result.ts'
import { roundsOf } from './rounds.ts'
import type { Http2Scenario } from './scenario.ts'
import { Subprocess } from './subprocess.ts'

const SERVER_CORE = 0
const LOAD_CORE = 1
const WARM_UP_ROUNDS = roundsOf(2)
const ROUNDS = roundsOf(7)
/** The header of a short frame from the server. */
const HEADER_BYTES = 2

/** A server and its clients: over HTTP/1.1, or with so many in each session of HTTP/2. */
interface Contender {
  readonly name: string
  readonly server: Subprocess
  readonly load: Subprocess
  readonly version: string
  readonly cpuMicros: number[]
}

/** Compares a delivery over HTTP/2 with one over HTTP/1.1, both with TLS, in alternating rounds. */
export async function runHttp2(name: string, scenario: Http2Scenario): Promise<Result> {
  const { clients, payloadBytes, messages, maxRatio } = scenario
  const contenders: Contender[] = []
  try {
    for (const perSession of [0, ...scenario.perSession]) contenders.push(await start(perSession, clients))
    const expected = clients * messages * (payloadBytes + HEADER_BYTES)
    for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
      for (const { name: who, server, load, cpuMicros } of contenders) {
        const spent = await server.call<number>('broadcast', { messages, payloadBytes })
        const received = await load.call<number>('received', { expected })
        if (received !== expected) throw new Error(`${who}: ${received} bytes instead of ${expected}`)
        if (round >= WARM_UP_ROUNDS) cpuMicros.push(spent / clients / messages)
      }
    }
  } finally {
    await Promise.all(contenders.flatMap(({ server, load }) => [server.stop(), load.stop()]))
  }
  const [base = Number.NaN] = contenders.map(({ cpuMicros }) => median(cpuMicros))
  return {
    scenario: name,
    title: scenario.title,
    figure: 'µs of server CPU per delivery',
    columns: [{ label: 'µs CPU', digits: 2 }],
    rows: contenders.map(({ name: who, version, cpuMicros }, index) => ({
      name: who,
      version,
      figures: [median(cpuMicros)],
      ...(index > 0 && { comparison: { value: median(cpuMicros) / base, unit: '×', atMost: maxRatio } }),
    })),
  }
}

async function start(perSession: number, clients: number): Promise<Contender> {
  const name = perSession === 0 ? 'HTTP/1.1' : `HTTP/2, ${perSession} in a session`
  const path = (file: string) => fileURLToPath(new URL(file, import.meta.url))
  const server = new Subprocess(
    `${name} server`,
    process.execPath,
    [path('servers/wshub-tls.mjs')],
    SERVER_CORE,
  )
  const load = new Subprocess(`${name} load`, process.execPath, [path('tls-load.mjs')], LOAD_CORE)
  const { port, version } = await server.call<{ port: number; version: string }>('listen', {
    isHttp2: perSession > 0,
  })
  await load.call('connect', { port, clients, perSession })
  return { name, server, load, version, cpuMicros: [] }
}
