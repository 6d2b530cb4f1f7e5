import { describe, expect, it } from 'vitest'
import { PacedWork } from '../../src/base/paced-work.ts'

/** Waits for the next turn of the event loop, behind the work that is due in it. */
async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}

/** Notes each of its steps, which cost 1. */
function* steps(name: string, count: number, done: string[]): Generator<number, void> {
  for (let step = 1; step <= count; step++) {
    done.push(`${name}${step}`)
    yield 1
  }
  done.push(`${name}.`)
}

describe('PacedWork', () => {
  it('does at once what fits into a turn, and the rest in the following ones', async () => {
    const done: string[] = []
    const work = new PacedWork(3)
    work.add(steps('a', 2, done))
    expect(done.splice(0)).toEqual(['a1', 'a2', 'a.'])
    work.add(steps('b', 5, done))
    work.add(steps('c', 1, done))
    expect(done.splice(0)).toEqual(['b1'])
    await turn()
    expect(done.splice(0)).toEqual(['b2', 'b3', 'b4'])
    await turn()
    expect(done.splice(0)).toEqual(['b5', 'b.', 'c1', 'c.'])
    await turn()
    await turn()
    work.add(steps('d', 3, done))
    expect(done.splice(0)).toEqual(['d1', 'd2', 'd3'])
    await turn()
    expect(done.splice(0)).toEqual(['d.'])
  })

  it('takes work that a step adds, or drops', async () => {
    const done: string[] = []
    const work = new PacedWork(10)
    function* adding(): Generator<number, void> {
      work.add(steps('b', 1, done))
      done.push('a1')
      yield 1
      work.close()
      done.push('a2')
      yield 1
      done.push('never')
    }
    work.add(adding())
    expect(done).toEqual(['a1', 'a2'])
    await turn()
    work.add(steps('c', 1, done))
    expect(done).toEqual(['a1', 'a2', 'c1', 'c.'])
  })

  it('goes on with the next task when one throws', async () => {
    const done: string[] = []
    const work = new PacedWork(10)
    function* failing(): Generator<number, void> {
      yield 1
      throw new Error('a fault')
    }
    expect(() => work.add(failing())).toThrow('a fault')
    work.add(steps('b', 1, done))
    expect(done).toEqual(['b1', 'b.'])
  })
})
