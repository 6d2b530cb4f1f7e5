/** The code that the three servers share: who may log in, and what a logged-in connection does. */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { CloseCode, type EventHandler, type Hub } from 'wshub'

type Metadata = { user: string }

export const page = readFileSync(new URL('./page.html', import.meta.url), 'utf8')

/** With a secret from the environment, sessions may survive a restart; otherwise they do not. */
export const secret = process.env.SESSION_SECRET ?? randomBytes(32).toString('hex')

export const cookie = { httpOnly: true, sameSite: 'lax' } as const

/** The user that a login request names, or `null`. A real application checks a password here. */
export function authenticate(body: unknown): string | null {
  if (typeof body !== 'object' || body === null || !('user' in body)) return null
  const { user } = body
  return typeof user === 'string' && /^[a-z]{1,30}$/i.test(user) ? user : null
}

export const greeter: EventHandler<Metadata> = {
  onOpen(conn) {
    const user = conn.getMetadata('user')
    conn.hub.joinRoom(conn, `user:${user}`)
    conn.sendText(`Hello, ${user}!`)
  },

  onMessage(conn, message) {
    conn.sendText(`${conn.getMetadata('user')} said: ${message.data}`)
  },
}

/** Ends all connections of a user, in this tab and in all others. */
export function disconnect(hub: Hub, user: string) {
  for (const conn of hub.members(`user:${user}`)) conn.close(CloseCode.policyViolation, 'logged out')
}
