import { once } from 'node:events'
import { buffer } from 'node:stream/consumers'
import { describe, expect, it, vi } from 'vitest'
import { MemorySocket } from '../../testing/client/memory-socket.ts'
import { until } from '../support/raw.ts'

function pair(): [MemorySocket, MemorySocket] {
  const near = new MemorySocket()
  return [near, near.peer]
}

describe('MemorySocket', () => {
  it('carries bytes both ways, in order, and then the end', async () => {
    const [near, far] = pair()
    expect(far.peer).toBe(near)
    const [there, back] = [buffer(far), buffer(near)]
    for (let i = 0; i < 1_000; i++) {
      near.write(`${i},`)
      far.write(`${-i},`)
    }
    near.end('end')
    far.end('end')
    const numbers = [...Array(1_000).keys()]
    expect(String(await there)).toBe(`${numbers.join()},end`)
    expect(String(await back)).toBe(`${numbers.map((i) => `${i && -i}`).join()},end`)
    expect(near.bytesWritten).toBe((await there).length)
    expect(near.bytesRead).toBe((await back).length)
    expect(far.bytesRead).toBe(near.bytesWritten)
    await until('both to be over', () => near.destroyed && far.destroyed)
  })

  it('never delivers inside a write', async () => {
    const [near, far] = pair()
    let isWriting = true
    const seen: boolean[] = []
    far.on('data', () => seen.push(isWriting))
    near.write('a')
    near.write('b')
    isWriting = false
    await until('both', () => far.bytesRead === 2)
    isWriting = true
    near.write('c')
    isWriting = false
    await until('the third', () => far.bytesRead === 3)
    expect(seen).not.toContain(true)
  })

  it('delivers while the timers are faked', async () => {
    vi.useFakeTimers({ toFake: ['setImmediate', 'setTimeout'] })
    try {
      const [near, far] = pair()
      near.end('hello')
      expect(String(await buffer(far))).toBe('hello')
    } finally {
      vi.useRealTimers()
    }
  })

  it('delivers a copy', async () => {
    const [near, far] = pair()
    const bytes = Buffer.from('hello')
    near.end(bytes)
    bytes.fill(0)
    expect(String(await buffer(far))).toBe('hello')
  })

  it('accepts what fits at once, like a kernel, and counts it', () => {
    const [near] = pair()
    near.write(Buffer.alloc(30_000))
    expect(near.writableLength).toBe(0)
    expect(near.bytesWritten).toBe(30_000)
  })

  it('makes a writer wait if its reader does not read', async () => {
    const [near, far] = pair()
    let taken = 0
    for (let i = 0; i < 30; i++) near.write(Buffer.alloc(10_000), () => taken++)
    await until('all that fits to be taken', () => taken > 0)
    expect(near.writableNeedDrain).toBe(true)
    expect(near.writableLength).toBeGreaterThan(150_000)
    expect(near.bytesWritten).toBe(300_000)
    expect(taken).toBeLessThan(15)
    far.resume()
    await until('all to be taken', () => taken === 30)
    expect(near.writableNeedDrain).toBe(false)
    expect(far.bytesRead).toBe(300_000)
    near.destroy()
  })

  it('stops and continues with its reader', async () => {
    const [near, far] = pair()
    const parts: Buffer[] = []
    far.on('data', (part: Buffer) => {
      parts.push(part)
      far.pause()
      setImmediate(() => far.resume())
    })
    for (let i = 0; i < 100; i++) near.write(Buffer.alloc(5_000, i))
    near.end()
    await once(far, 'end')
    expect(Buffer.concat(parts).length).toBe(500_000)
    expect(parts.map(([first]) => first)).toEqual(parts.map(([first]) => first).sort((a = 0, b = 0) => a - b))
  })

  it('may be half closed', async () => {
    const [near, far] = pair()
    near.end('question')
    const ended = once(far, 'end')
    const [question] = await once(far, 'data')
    await ended
    expect(String(question)).toBe('question')
    far.end('answer')
    expect(String(await buffer(near))).toBe('answer')
  })

  it('ends for the other side when one is destroyed, after everything written', async () => {
    const [near, far] = pair()
    near.write('last words')
    near.destroy()
    expect(String(await buffer(far))).toBe('last words')
  })

  it.each([
    ['fails with ECONNRESET for who waits to write', true, 'ECONNRESET'],
    ['fails with EPIPE for who writes afterwards', false, 'EPIPE'],
  ])('%s', async (_name, isWaiting, code) => {
    const [near, far] = pair()
    if (isWaiting) far.write(Buffer.alloc(200_000))
    near.destroy()
    const failed = once(far, 'error')
    if (!isWaiting) far.write('too late')
    expect(await failed).toEqual([expect.objectContaining({ code })])
    expect(far.destroyed).toBe(true)
  })
})
