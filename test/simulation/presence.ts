import type { PresenceChange, PresenceMode } from 'wshub'
import type { Node } from './node.ts'
import { ROOMS, type Session } from './records.ts'
import type { World } from './world.ts'

/** Time, in ms, in which a user may come back. */
export const LEAVE_GRACE_MS = 60
/** Users have several clients, one after the other or at once. */
const USERS = 4
/** Of infos that were given within so many ms, either may count as the later one. */
const SAME_TIME_MS = 5

/** The latest info that a node was given of a user. */
interface Given {
  readonly info: number
  readonly at: number
}

/** Returns the mode of a room: `members` for the first, `count` for the second. */
export function modeOf(room: string): PresenceMode | undefined {
  return room === ROOMS[0] ? 'members' : room === ROOMS[1] ? 'count' : undefined
}

/** Returns the user of a client, by its name; `undefined` for some. */
export function userOf(client: string): string | undefined {
  const place = Number(/^c(\d+)/.exec(client)?.[1] ?? 0)
  return place % (USERS + 1) === USERS ? undefined : `u${place % USERS}`
}

/** The presence that was reported to the application on a node, and the rules that it must keep. */
export class ToldPresence {
  readonly #world: World
  readonly #node: Node
  /** By room: the users who are there. */
  readonly #users = new Map<string, Set<string>>()
  readonly #given = new Map<string, Given>()
  /** By room and user, and by room: when a connection of this node was there last, in ms. */
  readonly #here = new Map<string, number>()

  constructor(world: World, node: Node) {
    this.#world = world
    this.#node = node
  }

  /** Returns the users who are in a room according to the changes. */
  users(room: string): ReadonlySet<string> {
    return this.#users.get(room) ?? new Set()
  }

  /** Records that the hub has asked the application for the info of a user. */
  gave(user: string, info: number): void {
    this.#world.trace(`${this.#node.name} is given the info ${info} of ${user}`)
    this.#given.set(user, { info, at: this.#world.clock.now })
  }

  given(user: string): Given | undefined {
    return this.#given.get(user)
  }

  /** Records that a connection that was in a room on this node has just left it. */
  wasHere(client: string, room: string): void {
    for (const key of [`${room} ${userOf(client)}`, room]) this.#here.set(key, this.#world.clock.now)
  }

  /**
   * The node may just have begun to follow the room with members, and then its hub has no user of it yet. It
   * has dropped the room if nobody was there on this node for the grace period, and reports all users again.
   */
  mayFollow(): void {
    const [room] = ROOMS
    if (this.#node.hub.stats().presence?.members === 0 && this.#goneMs(room) >= LEAVE_GRACE_MS)
      this.#users.delete(room)
  }

  take(room: string, { joined, left, count }: PresenceChange): void {
    const { name } = this.#node
    const names = joined.map(({ user }) => user)
    this.#world.trace(`${name} is told of ${room}: joined ${names}, left ${left}, ${count}`)
    const fail = (what: string) => this.#world.fail('changes', `${name} is told of ${room}: ${what}`)
    const users = this.#users.get(room) ?? new Set()
    this.#users.set(room, users)
    if (new Set([...names, ...left]).size < names.length + left.length)
      fail('the same user twice in a change')
    for (const user of names) {
      if (users.has(user)) fail(`${user} joins twice`)
      users.add(user)
    }
    for (const user of left) {
      if (!users.delete(user)) fail(`${user} leaves, and was not there`)
      const goneMs = this.#goneMs(`${room} ${user}`)
      if (goneMs < LEAVE_GRACE_MS) fail(`${user} leaves, and was on this node ${goneMs} ms ago`)
      if (this.#sessions(room).some((session) => userOf(session.name) === user)) {
        fail(`${user} leaves, and is on this node`)
      }
    }
  }

  /** Returns for how long no connection of this node has been in a room, or none of a user. */
  #goneMs(key: string): number {
    return this.#world.clock.now - (this.#here.get(key) ?? Number.NEGATIVE_INFINITY)
  }

  /** Returns the connections that are certainly in a room on this node. */
  #sessions(room: string): Session[] {
    return sessionsIn(this.#world, room).filter(({ node }) => node === this.#node.name)
  }
}

/** Checks that all nodes show the same presence of a room, and that it is true. */
export function checkPresence(world: World, node: Node, room: string): void {
  const mode = modeOf(room)
  if (mode === undefined) return
  const { name, hub, told } = node
  told.mayFollow()
  world.call(node, `the presence of ${room}`, hub.presenceSettled(room), () => {
    const { members, count, isComplete } = hub.presence(room)
    const fail = (what: string) => world.fail('presence', `${name} says of ${room} ${what}`)
    if (!isComplete) fail('that it is not complete')
    const expected = new Map<string, number>()
    let anonymous = 0
    for (const { name: client } of sessionsIn(world, room)) {
      const user = mode === 'count' ? undefined : userOf(client)
      if (user === undefined) anonymous++
      else expected.set(user, (expected.get(user) ?? 0) + 1)
    }
    const show = (users: Iterable<readonly [string, number]>) =>
      [...users]
        .map((pair) => pair.join(':'))
        .sort()
        .join()
    const seen = show(members.map(({ user, connections }) => [user, connections] as const))
    if (seen !== show(expected)) fail(`${seen}, not ${show(expected)}`)
    if (count !== expected.size + anonymous) fail(`the count ${count}, not ${expected.size + anonymous}`)
    if (
      mode === 'members' &&
      hub.roomSize(room) > 0 &&
      [...told.users(room)].sort().join() !== [...expected.keys()].sort().join()
    ) {
      fail(`that ${[...told.users(room)]} are there by its changes, not ${[...expected.keys()]}`)
    }
    for (const { user, info } of members) {
      const latest = latestInfos(world, room, user)
      if (typeof info !== 'number' || !latest.includes(info))
        fail(`the info ${info} of ${user}, not ${latest}`)
    }
    const infos = (of: Node) =>
      JSON.stringify(
        of.hub
          .presence(room)
          .members.map(({ user, info }) => `${user} ${info}`)
          .sort(),
      )
    for (const other of world.upNodes()) {
      if (other.hub.roomSize(room) > 0 && node.hub.roomSize(room) > 0 && infos(other) !== infos(node)) {
        fail(`${infos(node)}, and ${other.name} says ${infos(other)}`)
      }
    }
  })
}

/** Returns the infos of a user that may count: the latest of the nodes that have a connection of the user. */
function latestInfos(world: World, room: string, user: string): number[] {
  const sessions = sessionsIn(world, room).filter(({ name }) => userOf(name) === user)
  const nodes = new Set(sessions.map(({ node }) => node))
  const given = [...nodes].flatMap((name) => world.nodeNamed(name)?.told.given(user) ?? [])
  const latest = Math.max(...given.map(({ at }) => at))
  return given.filter(({ at }) => at >= latest - SAME_TIME_MS).map(({ info }) => info)
}

/** Returns the connections that are in a room on nodes that are up. */
function sessionsIn(world: World, room: string): Session[] {
  return [...world.ledger.sessions.values()].filter((session) => {
    if (!session.isOpen || !world.isAlive(session.node)) return false
    return world.nodeNamed(session.node)?.connection(session.id)?.inRoom(room) === true
  })
}
