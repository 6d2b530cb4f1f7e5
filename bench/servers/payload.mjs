// The one message format of all scenarios, as fixed-width ASCII so that both sides handle it without parsing
// JSON:
//   bytes 0-8    its number, counted from 0 by whoever sends it
//   bytes 8-12   its source: a room, or the client that wrote it
//   bytes 12-28  when it was sent, in microseconds of the wall clock
//   the rest     words that depend on the number

const HEADER_BYTES = 28

const WORDS =
  'the hub sends one frame to every client in a room and each socket is written once a turn so order holds'.split(
    ' ',
  )
const FILLER_BYTES = 1 << 17
const FILLER = makeFiller()

/** Microseconds of the wall clock, with the resolution of the monotonic one. Comparable between processes. */
export function nowMicros() {
  return Math.round((performance.timeOrigin + performance.now()) * 1000)
}

/** The text of message `number` of a source, `payloadBytes` long. */
export function makePayload(source, number, payloadBytes, sentMicros = nowMicros()) {
  const start = (number * 31) % (FILLER_BYTES - payloadBytes)
  return (
    String(number).padStart(8, '0') +
    String(source).padStart(4, '0') +
    String(sentMicros).padStart(16, '0') +
    FILLER.slice(start, start + payloadBytes - HEADER_BYTES)
  )
}

/** The header of a text that was written by `makePayload`. */
export function readHeader(text) {
  return { number: +text.slice(0, 8), source: +text.slice(8, 12), sentMicros: +text.slice(12, 28) }
}

/** A generator of numbers in [0, 1) that gives the same sequence in every run. */
export function seededRandom(seed) {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

function makeFiller() {
  const random = seededRandom(7)
  let text = ''
  while (text.length < FILLER_BYTES) {
    text += `${WORDS[Math.floor(random() * WORDS.length)]}-${Math.floor(random() * 1000)} `
  }
  return text.slice(0, FILLER_BYTES)
}
