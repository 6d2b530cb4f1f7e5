import { describe, expect, it } from 'vitest'
import { handshake, request } from '../support/raw.ts'
import { endure, fuzz } from './fuzz.ts'
import { Ending, type Input } from './inputs.ts'

const SEED = 5
const INPUTS = 600

describe('hostile bytes', () => {
  // `npm run fuzz` does the same with 100,000 inputs and a new seed each time; CI, with 10,000.
  it(`(${INPUTS} inputs) take nothing down, leave nothing behind, and a client beside them misses nothing`, async () => {
    const report = await fuzz({ inputs: INPUTS, seed: SEED })
    expect(report.inputs).toBe(INPUTS)
    expect(report.exchanged).toBeGreaterThan(INPUTS / 20)
    expect(report.ticks).toBeGreaterThan(0)
    expect(report.pipelined).toBeGreaterThan(INPUTS / 20)
    // Checks that the inputs get past the handshake, cause every error, and get refusals of all kinds.
    const { opened, errors, refusals, envelopes } = report.audit
    expect(envelopes).toBeGreaterThan(INPUTS / 100)
    expect(opened).toBeGreaterThan(INPUTS / 4)
    expect(Object.keys(errors)).toEqual(
      expect.arrayContaining([
        'WSHUB_ERR_PROTOCOL',
        'WSHUB_ERR_INVALID_DATA',
        'WSHUB_ERR_MESSAGE_TOO_BIG',
        'WSHUB_ERR_ENVELOPE',
      ]),
    )
    expect(Object.keys(refusals)).toEqual(
      expect.arrayContaining([
        'WSHUB_ERR_NOT_UPGRADE',
        'WSHUB_ERR_METHOD',
        'WSHUB_ERR_VERSION',
        'WSHUB_ERR_BAD_HANDSHAKE',
        'WSHUB_ERR_ORIGIN',
      ]),
    )
  })
})

describe('a bug found by fuzzing', () => {
  const afterRequest = (path: string, second: Buffer, ending: Ending): Input => ({
    opening: '',
    eager: true,
    bytes: Buffer.concat([request(path), second]),
    cuts: [],
    ending,
  })

  it.each([
    { what: 'a handshake', second: handshake('/') },
    { what: 'an upgrade to something else', second: handshake('/', { headers: { Upgrade: 'h2c' } }) },
  ])('$what pipelined behind a request whose socket breaks leaves the process up', async ({ second }) => {
    const broken = afterRequest('/broken', second, Ending.fin)
    // The same by a reset while the response is written, which happens only sometimes.
    const reset = Array.from({ length: 200 }, () => afterRequest('/http', second, Ending.reset))
    const audit = await endure([broken, ...reset])
    expect(audit.connections).toBe(1) // the client that must not be affected
  })
})
