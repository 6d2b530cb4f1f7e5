import { expect, it } from 'vitest'
import { soak } from './soak.ts'

it('After a soak nothing is left over, and every message is accounted for', async () => {
  const { problems, figures } = await soak({ seconds: 16, clients: 200 })
  expect(problems).toEqual([])
  for (const name of ['stalls', 'cuts', 'refusals', 'brokenHandshakes', 'lost', 'dropped']) {
    expect([name, figures[name]]).toEqual([name, expect.any(Number)])
    expect(figures[name], name).toBeGreaterThan(0)
  }
})
