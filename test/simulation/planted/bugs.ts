import { type Bug, bugs } from './bug.ts'
import { HISTORY_BUGS } from './history-bugs.ts'

/** Returns the source with the bug. @throws {Error} when the text does not occur exactly once */
export function plant({ name, file, search, replace }: Bug, source: string): string {
  const parts = source.split(search)
  if (parts.length !== 2) throw new Error(`${name}: its text occurs ${parts.length - 1} times in ${file}`)
  return parts.join(replace)
}

/** Bugs of the kinds that such code has had, here or elsewhere. */
export const BUGS: readonly Bug[] = [
  ...bugs(
    'cluster/subscriptions',
    [
      'a subscription that was refused is not repeated',
      'for (const entry of failed) this.#subscribe(entry)',
      '',
    ],
    [
      'a room that has members again is left when the grace period of its earlier ones ends',
      'entry.isIdle = false\n      this.#idle.delete(entry)',
      'entry.isIdle = false',
    ],
    ['an unsubscribe is lost', 'entry.settle()\n    this.#host.unsubscribe(entry.channel)', 'entry.settle()'],
    [
      'a join does not wait for the confirmation of the engine',
      'await Promise.all(rooms.map((room) => this.#rooms.get(room)?.settled))',
      'await Promise.resolve(rooms)',
    ],
    [
      'a closed hub keeps the timer of its grace periods',
      'clearTimeout(this.#timer)\n    for (const entry of this.#channels.values()) entry.settle()',
      'for (const entry of this.#channels.values()) entry.settle()',
    ],
    [
      'a room is subscribed to once and never again',
      'if (entry.room !== undefined) this.#rooms.delete(entry.room)',
      '',
    ],
  ),
  ...bugs(
    'cluster/gaps',
    [
      'a gap is one too small',
      'progress.sequence - (isCounted ? 1 : 0)',
      'progress.sequence - (isCounted ? 2 : 1)',
    ],
    ['a gap of one is none', 'return missing\n  }', 'return missing === 1 ? 0 : missing\n  }'],
    ['a gap is one too large', 'progress.sequence - (isCounted ? 1 : 0)', 'progress.sequence'],
    ['a copy is delivered', "return isCounted ? 'repeated' : 0", 'return 0'],
    [
      'a gap is reported with each message',
      'progress.sequence = sequence\n    return missing',
      'return missing',
    ],
  ),
  ...bugs(
    'cluster/receiver',
    ['the sequences of a channel outlive its subscription', 'this.#gaps.leave(channel)\n', '\n'],
    ['a gap is not reported', 'if (missing > 0) this.#lost(subscription, stamp.node, missing)', ''],
    ['a message to a union arrives once for each room', "if (verdict !== 'new') return\n", '\n'],
    [
      'other nodes ignore excluded connections',
      'local.broadcast({ rooms, exceptIds, exceptRooms }',
      'local.broadcast({ rooms, exceptIds: [], exceptRooms }',
    ],
    [
      'other nodes ignore excluded rooms',
      'local.broadcast({ rooms, exceptIds, exceptRooms }',
      'local.broadcast({ rooms, exceptIds, exceptRooms: [] }',
    ],
    [
      'a message to a union goes to one of its rooms',
      'body.rooms ?? (room === EVERYONE ? undefined : [room])',
      'room === EVERYONE ? undefined : [room]',
    ],
    [
      'a barrier is ignored',
      'this.#held.add({ node, channel: subscription.channel, bytes }, body.barriers)\n',
      '\n',
    ],
    [
      'a message that a call waits for in vain is not reported',
      "if (count !== 'repeated' && count > 0) this.#lost(subscription, node, count)",
      '',
    ],
    [
      'a node does not tell one that comes back how far it was',
      'if (awayMs > 0) publisher.publishCheckpoints(awayMs)',
      '',
    ],
  ),
  ...bugs(
    'cluster/replay-window',
    ['the window for copies is too small', 'const WINDOW = 8_192', 'const WINDOW = 32'],
    [
      'each second message to a union counts as a copy',
      'this.#highest = number\n    }',
      'this.#highest = number + 1\n      this.#seen[Math.floor(((number + 1) % WINDOW) / BITS)] = -1\n    }',
    ],
  ),
  ...bugs(
    'cluster/publisher',
    [
      'excluded connections of other nodes are not named',
      '!id.startsWith(this.#idPrefix)',
      'id.startsWith(this.#idPrefix)',
    ],
    [
      'a call stays behind no message that comes soon after another call',
      'channel.barriersAt = now',
      'channel.barriersAt = now + 200',
    ],
    [
      'a message that is refused has no number',
      'channel.sequence++',
      'if (this.#parts.backplane.state === "connected") channel.sequence++',
    ],
  ),
  ...bugs(
    'cluster/held-requests',
    [
      'a hold is released by the first of several messages',
      'if (head.barriers.size === 0) this.#advance(node, queue)',
      'head.barriers.clear()\n    this.#advance(node, queue)',
    ],
    [
      'a request overtakes the barriers before it',
      'else if (!this.#queues.has(node)) this.#host.ask',
      "else if (!this.#queues.has('')) this.#host.ask",
    ],
  ),
  ...bugs('cluster/sequences', [
    'the first barrier is left out',
    'i >= 0 && barriers.length < MAX_BARRIERS',
    'i > 0 && barriers.length < MAX_BARRIERS',
  ]),
  ...bugs('cluster/pending-calls', [
    'a call whose answer is lost never ends',
    'setTimeout(end, timeoutMs)',
    'setTimeout(end, timeoutMs * 100)',
  ]),
  ...bugs(
    'cluster/membership',
    ['a node that loses its engine still says that it is connected', "this.#become('reconnecting')\n", '\n'],
    [
      'a connection that hangs is not noticed',
      'if (silentBeats <= this.#maxSilentBeats) return\n',
      'if (silentBeats >= 0) return\n',
    ],
    [
      'a node whose connection hung does not come back',
      "this.#disconnect('does not deliver')\n    this.backplaneMoved('connected')",
      "this.#disconnect('does not deliver')",
    ],
  ),
  ...bugs(
    'cluster/known-nodes',
    ['a dead node is never forgotten', 'if (silence < this.#maxSilentBeats) {', 'if (silence < 1_000) {'],
    [
      'a heartbeat does not end a silence',
      'this.#silence.set(node, 0)\n  }\n\n  /** Removes a node',
      'this.#silence.set(node, this.#silence.get(node) ?? 0)\n  }\n\n  /** Removes a node',
    ],
  ),
  ...bugs(
    'cluster/backplane-link',
    [
      'a node that comes back does not say how far it was',
      'if (awayMs > 0) publisher.reconnected(awayMs)',
      '',
    ],
    ['a closed hub still beats', 'clearInterval(this.#heartbeat)\n', '\n'],
    [
      'a closed hub leaves its backplane open',
      'const closed = this.#closeBackplane(leftMs)',
      'const closed = Promise.resolve()',
    ],
  ),
  ...bugs(
    'hub/room-index',
    [
      'a connection that has ended stays in its rooms',
      'for (const room of rooms) this.#dropFrom(room, member)\n    return rooms',
      'return rooms',
    ],
    [
      'a room ends when any member leaves',
      'if (members?.delete(member) && members.size === 0) {',
      'if (members?.delete(member)) {',
    ],
    [
      'a room is vacated when any member leaves',
      'if (members?.delete(member) && members.size === 0) {\n      this.#members.delete(room)',
      'if (members?.delete(member)) {\n      if (members.size === 0) this.#members.delete(room)',
    ],
    [
      'a union leaves out its last room',
      'for (const room of others) for',
      'for (const room of others.slice(1)) for',
    ],
  ),
  ...bugs(
    'presence/presence-room',
    [
      'presence: a delta that does not follow what is known is applied',
      'if (delta.base !== 0 && delta.base !== share.version) {',
      'if (delta.base < 0) {',
    ],
    [
      'presence: a snapshot keeps members that have left',
      'yield* this.#roster.replacing(share, snapshot, clock)',
      'yield* this.#roster.putting(share, snapshot, clock)',
    ],
    [
      'presence: the members of a dead node stay',
      'const visited = yield* this.#roster.dropping(share)\n    this.#roster.shares.delete(node)\n    return visited',
      'this.#roster.shares.delete(node)\n    return 0',
    ],
    [
      'presence: a user with two connections leaves with the first',
      'holding.connections--\n    if (holding.connections === 0) {',
      'holding.connections--\n    if (holding.connections >= 0) {',
    ],
    ['presence: an anonymous connection stays counted', 'this.#own.anonymous--\n', '\n'],
  ),
  ...bugs(
    'presence/room-changes',
    [
      'presence: a user who is back is still leaving',
      'member.leavesAt = 0\n      if (!member.isTold) joined',
      'if (!member.isTold) joined',
    ],
    [
      'presence: a user is told as joined again and again',
      'member.isTold = true\n',
      'member.isTold = member.holdings.length > 1\n',
    ],
  ),
  ...bugs(
    'presence/exchange',
    [
      'presence: no digest is published',
      'if (rooms.length > 0) this.#link.tell(undefined',
      'if (rooms.length < 0) this.#link.tell(undefined',
    ],
    [
      'presence: a node that was away asks for nothing',
      'this.#questions.askAll()',
      'if (awayMs === 0) this.#questions.askAll()',
    ],
    ['presence: a dead node is not noticed', 'yield* this.#intake.forgetting(node, room)', 'continue'],
    [
      'presence: a room is settled before all have answered',
      '!room.isAnswered || room.isBehindAny || room.isPartial',
      'room.isPartial',
    ],
  ),
  ...bugs(
    'presence/questions',
    [
      'presence: an answer that is missing is not asked for again',
      'for (const name of this.#unanswered) this.#waiting.add(name)\n',
      '\n',
    ],
    ['presence: a closed hub still waits for answers', 'this.#timeouts.close()\n', '\n'],
  ),
  ...bugs('presence/room-member', [
    'presence: of two infos, the one that the node with fewer of them was given does not count',
    'Math.min(Math.max(Date.now(), (this.#latest()?.stamp ?? 0) + 1), MAX_STAMP)',
    '(this.#latest()?.stamp ?? 0) + 1',
  ]),
  ...bugs('presence/round', [
    'presence: a room that nobody names stays as it was',
    'if (!progress.named.has(room)) this.#host.snapshot(node, room, nobody, clock)',
    'if (progress.named.has(room)) continue',
  ]),
  ...bugs(
    'presence/presence',
    [
      'presence: a room that nobody is in is followed for ever',
      'this.#exchange?.unfollow(room)\n    if (this.#host.members(room.name).size === 0) this.#link.vacated(room.name)',
      '',
    ],
    ['presence: a closed hub still waits for users', 'this.#departures.close()\n', '\n'],
    [
      'presence: a room is dropped when the grace period of anybody ends',
      'if (room.idleUntil !== at) return\n',
      '\n',
    ],
    [
      'presence: a connection leaves as another user than it came',
      'this.#withRoom(name, (room) => room.remove(entry.identity))',
      'this.#withRoom(name, (room) => room.remove(ANONYMOUS))',
    ],
  ),
  ...bugs('hub/hub', ['a hub never leaves the channel for everyone', 'this.#link.vacated(EVERYONE)', '']),
  ...bugs('connection/keepalive', [
    'a closed hub still looks after its connections',
    'stop(): void {\n    clearInterval(this.#timer)\n',
    'stop(): void {\n',
  ]),
  ...bugs(
    'delivery/outbox',
    [
      'a message overtakes those that wait for a slow client',
      'if (this.#backlog !== undefined) {\n      return this.#hold',
      'if (this.#backlog !== undefined && messages > 1) {\n      return this.#hold',
    ],
    [
      'what is dropped for a slow client is not counted',
      'countDrops(this.#drops, reason, { messages, bytes })\n',
      '\n',
    ],
    [
      'an urgent message overtakes those that wait for others',
      'const batch = (this.#batch ?? this.#delivery.loop.root).extend(frame, isMessage)\n',
      `if (isMessage && !mayWait && this.#batch !== undefined && this.#due === 'later') {
        this.#socket.write(encodedFrame(frame))
        return true
      }
      const batch = (this.#batch ?? this.#delivery.loop.root).extend(frame, isMessage)\n`,
    ],
  ),
  ...bugs('delivery/flush-loop', [
    'what waits for others is written by chance only',
    'for (const outbox of delayed) outbox.delayPassed()\n',
    '\n',
  ]),
  ...HISTORY_BUGS,
]
