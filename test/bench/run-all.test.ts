import { describe, expect, it } from 'vitest'
import { runAll } from '../../bench/run-all.ts'

/** Runs scenarios that are functions; returns what happened, in its order. */
async function happeningsOf(
  scenarios: Record<string, () => Promise<string>>,
  deadlineMs = 60_000,
): Promise<string[]> {
  const happenings: string[] = []
  await runAll({
    scenarios: Object.entries(scenarios),
    deadlineMs,
    run: (_, scenario) => scenario(),
    onResult: (result) => void happenings.push(result),
    onFailure: (name, reason) => void happenings.push(`${name}: ${(reason as Error).message}`),
    endProcesses: async () => void happenings.push('ended'),
  })
  return happenings
}

/** Tells the listeners that were added, as the event loop does: the runner would take a real one, too. */
function throwUncaught(message: string, before: readonly NodeJS.UncaughtExceptionListener[]): void {
  for (const listener of process.listeners('uncaughtException')) {
    if (!before.includes(listener)) listener(new Error(message), 'uncaughtException')
  }
}

describe('runAll', () => {
  it('hands on each result before the next scenario begins', async () => {
    const order: string[] = []
    await runAll({
      scenarios: [
        ['one', 1],
        ['two', 2],
      ],
      deadlineMs: 60_000,
      run: async (name) => {
        order.push(`${name} begins`)
        return name
      },
      onResult: (result) => void order.push(`${result} is there`),
      onFailure: () => {},
      endProcesses: async () => {},
    })
    expect(order).toEqual(['one begins', 'one is there', 'two begins', 'two is there'])
  })

  it('goes on after one that rejects', async () => {
    const scenarios = { one: () => Promise.reject(new Error('broken')), two: async () => 'two' }
    expect(await happeningsOf(scenarios)).toEqual(['one: broken', 'ended', 'two', 'ended'])
  })

  it('goes on after one that throws before it returns a promise', async () => {
    const broken = (): Promise<string> => {
      throw new Error('broken')
    }
    expect(await happeningsOf({ one: broken, two: async () => 'two' })).toEqual([
      'one: broken',
      'ended',
      'two',
      'ended',
    ])
  })

  it('goes on after one that is late, and ends its processes first', async () => {
    const scenarios = { one: () => new Promise<string>(() => {}), two: async () => 'two' }
    const late = 'one: not done within 20 ms; what it began in this process goes on'
    expect(await happeningsOf(scenarios, 20)).toEqual([late, 'ended', 'two', 'ended'])
  })

  it('fails the scenario during which an error reaches nobody', async () => {
    const before = process.listeners('uncaughtException')
    const hung = () => {
      throwUncaught('unheard', before)
      return new Promise<string>(() => {})
    }
    const happenings = await happeningsOf({ one: hung, two: async () => 'two' })
    expect(happenings).toEqual(['one: unheard', 'ended', 'two', 'ended'])
    expect(process.listeners('uncaughtException')).toEqual(before)
  })

  it('tells of an error that reaches nobody while the processes of a scenario end', async () => {
    const before = process.listeners('uncaughtException')
    const failures: string[] = []
    await runAll({
      scenarios: [['one', 1]],
      deadlineMs: 60_000,
      run: async () => 'result',
      onResult: () => {},
      onFailure: (name, reason) => void failures.push(`${name}: ${(reason as Error).message}`),
      endProcesses: async () => throwUncaught('unheard', before),
    })
    expect(failures).toEqual(['one: unheard'])
  })

  it('leaves no listener when the processes do not end', async () => {
    const before = process.listeners('uncaughtException')
    const running = runAll({
      scenarios: [['one', 1]],
      deadlineMs: 60_000,
      run: async () => 'result',
      onResult: () => {},
      onFailure: () => {},
      endProcesses: () => Promise.reject(new Error('still there')),
    })
    await expect(running).rejects.toThrow('still there')
    expect(process.listeners('uncaughtException')).toEqual(before)
  })
})
