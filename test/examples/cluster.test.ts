import { availableParallelism } from 'node:os'
import { afterEach, describe, expect, it } from 'vitest'
import { WAIT_MS } from '../support/in-time.ts'
import { Client, Process } from './support.ts'

/** One client on each of the given number of workers. Clients cannot choose their worker. */
async function clientsAt(workers: number, url: string): Promise<Client[]> {
  const clients = new Map<string | undefined, Client>()
  const end = Date.now() + WAIT_MS
  while (clients.size < workers) {
    if (Date.now() > end) throw new Error(`Waited for ${workers} workers, saw: ${[...clients.keys()]}`)
    const client = await Client.open({ url }, '/')
    const worker = /worker (\d+)/.exec(String(await client.next()))?.[1]
    if (clients.has(worker)) await client.close()
    else clients.set(worker, client)
  }
  return [...clients.values()]
}

describe('Cluster', () => {
  let example: Process | undefined

  afterEach(() => example?.kill('SIGKILL'))

  it('delivers messages between clients of all workers, and ends on SIGTERM', async () => {
    example = new Process('examples/cluster.ts')
    const clients = await clientsAt(Math.min(availableParallelism(), 4), await example.url())
    for (const [index, sender] of clients.entries()) {
      sender.send(`from ${index}`)
      for (const client of clients) {
        if (client !== sender) await client.take(`from ${index}`, (data) => data === `from ${index}`)
      }
    }
    example.kill('SIGTERM')
    for (const client of clients) expect(await client.closed()).toMatch(/^1001/)
    expect(await example.exit()).toEqual([0, null])
  })

  it('ends on a signal that arrives while its workers start', async () => {
    example = new Process('examples/cluster.ts')
    await example.url() // of the first one
    example.kill('SIGINT')
    expect(await example.exit()).toEqual([0, null])
  })
})
