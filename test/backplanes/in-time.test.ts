import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { inTime } from '../../adapters/backplane/in-time.ts'

const LIMIT_MS = 20

it('an answer that has arrived and was not read, since the process was busy, is in time', async () => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo // the server listens on TCP
  const client = connect(port, '127.0.0.1')
  onTestFinished(() => void client.destroy())
  const [socket] = await once(server, 'connection')
  const answer = inTime(LIMIT_MS, 'nobody has answered', once(client, 'data'))
  socket.end('yes')
  for (const end = performance.now() + 5 * LIMIT_MS; performance.now() < end; );
  expect(String(await answer)).toBe('yes')
})

it('without an answer, the promise rejects', async () => {
  await expect(inTime(LIMIT_MS, 'nobody has answered', new Promise(() => {}))).rejects.toThrow(
    'nobody has answered within 20 ms',
  )
})
