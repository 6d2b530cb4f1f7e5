import { type Bug, bugs } from './bug.ts'

/** Bugs in the histories of rooms. */
export const HISTORY_BUGS: readonly Bug[] = [
  ...bugs(
    'history/room-log',
    [
      'a message is delivered although the one before it is missing',
      'stored.previous <= delivered.offset && !this.#isSuspect',
      'stored.previous <= delivered.offset + 1 && !this.#isSuspect',
    ],
    [
      'a message that the feed repeats is delivered again',
      'stored.epoch === delivered.epoch && stored.offset <= delivered.offset',
      'stored.epoch === delivered.epoch && stored.offset < delivered.offset',
    ],
    [
      'a message of another epoch is delivered',
      '} else if (stored.epoch === delivered.epoch && stored.previous <= ',
      '} else if (stored.previous <= ',
    ],
    [
      'a log does not read after its store was away',
      'this.#held.clear() // the store may have lost these as well\n    this.#retry()',
      'this.#held.clear()',
    ],
    [
      'a log trusts its store after it was away',
      'this.#suspicions++\n    this.#held.clear()',
      'this.#held.clear()',
    ],
    [
      'a log that is behind the head of its store does not read',
      'else if (!this.#hasReached(head)) this.verify()',
      '',
    ],
    [
      'a room that was evicted is not noticed until its next message',
      'if (head === undefined || head.epoch !== before.epoch || head.offset < before.offset) this.suspect()',
      'if (head === undefined) return',
    ],
    [
      'a message that was delivered is delivered again when it is read',
      'if (stored.epoch !== this.delivered.epoch || stored.offset <= this.delivered.offset) continue',
      '',
    ],
    [
      'the first publish after an eviction resolves too early',
      'if (!this.#isClosed && this.isPositioned && this.delivered.epoch !== mark.epoch) this.suspect()',
      '',
    ],
    ['a log that is closed keeps its timers', 'this.#retries.stop()\n    this.#feed.stop()\n', '\n'],
    [
      'messages of another epoch stay ready for replays',
      '{ epoch, offset, tag }\n    this.members.recent.clear(this.#delivered)',
      '{ epoch, offset, tag }',
    ],
    ['a room is followed for ever by its store', 'this.#parts.store.unsubscribe(this.room)', ''],
  ),
  ...bugs(
    'history/log-members',
    [
      'members are not told that messages are lost',
      'if (!this.#catchUps.has(member)) member.fellBehind(this.#log.room)',
      '',
    ],
    [
      'a member receives live while it catches up',
      'if (catchUps.size > 0 && catchUps.has(member)) continue',
      '',
    ],
    [
      'a resync begins one message late',
      'resync(member: HistoryMember, { after }: HistoryMessage): void {',
      'resync(member: HistoryMember, { mark: after }: HistoryMessage): void {',
    ],
    ['a resync that is not complete is not reported', 'if (isBehind) member.fellBehind(this.room)', ''],
    [
      'excluded connections receive what is stored',
      'if (!isForAll && !message.isFor(member, NOT_PAST, rooms)) continue',
      '',
    ],
    ['a replay that cannot be read is not tried again', 'this.#catchUps.awaitRetry(catchUp)', ''],
  ),
  ...bugs(
    'history/room-logs',
    [
      'rooms are not compared with their store',
      'log.compare(heads[index], before[index] ?? log.delivered)',
      'void [index, log, before, heads]',
    ],
    [
      'a room that has members again is left by its log',
      'clearTimeout(this.#idle.get(room))\n    if (this.#idle.delete(room)) return',
      'if (this.#idle.delete(room)) return',
    ],
  ),
  ...bugs('history/catch-ups', [
    'a replay that waits for its node never goes on',
    'this.#ahead.add(catchUp)',
    '',
  ]),
  ...bugs(
    'history/catch-up',
    [
      'a replay ends a message too early',
      'cursor.epoch !== epoch || cursor.offset !== offset) return false',
      'cursor.epoch !== epoch || cursor.offset < offset - 1) return false',
    ],
    ['a replay ignores excluded connections', 'if (this.#log.isFor(message, this)) {', '{'],
    [
      'a message that waits is sent although those before it were dropped',
      'this.#isRewound = true\n    this.#page = []\n    this.#next = undefined\n',
      'this.#isRewound = true\n    this.#page = []\n',
    ],
    [
      'a replay goes on where it was, although messages were dropped',
      'this.cursor = cursor\n    this.#isRewound = true\n    this.#page = []\n    this.#next = undefined\n    this.#awaitRoom()',
      'this.#awaitRoom()',
    ],
    [
      'a replay ends in silence when its messages are not kept any more',
      "{\n      this.#finish('incomplete')\n    } else if",
      "{\n      this.cursor = this.#log.delivered\n      this.#finish('live')\n    } else if",
    ],
    [
      'a replay that is incomplete does not wait for its node',
      'if (!isComplete && this.#mayReceiveLive(head)) {',
      'if (!isComplete) {',
    ],
  ),
  ...bugs(
    'history/recent-messages',
    [
      'the latest messages are one too few',
      'const index = this.#entries.length - count\n',
      'const index = this.#entries.length - count + 1\n',
    ],
    [
      'a replay from memory leaves out a message',
      'undefined : this.#entries[index]?.message\n',
      'undefined : this.#entries[index + 1]?.message\n',
    ],
    [
      'a position whose message was lost counts as known',
      'known.epoch === epoch && known.tag === tag ?',
      'known.epoch === epoch ?',
    ],
    [
      'a position counts as known where that cannot be told',
      'known.tag === tag ?',
      "(known.tag === tag || known.tag === '') ?",
    ],
  ),
  ...bugs(
    'history/held-records',
    [
      'a message that is held is released although one before it is missing',
      'else if (stored.previous > offset) left.push(stored)',
      '',
    ],
    [
      'a message that is held twice is released twice',
      'else if (stored.offset <= offset) {',
      'else if (stored.offset < offset) {',
    ],
  ),
  ...bugs(
    'history/resume',
    [
      'a replay of the latest messages begins one late',
      "offset: first.previous, tag: ''",
      'offset: first.offset, tag: first.tag',
    ],
    [
      'one too few of the latest messages come in place of lost ones',
      'known === undefined ? readLast(log, last, isComplete)',
      'known === undefined ? readLast(log, isComplete ? last : last - 1, isComplete)',
    ],
    [
      'a position that is not kept counts as complete',
      'const isComplete = !hasSince(from)',
      'const isComplete = true',
    ],
    [
      'a client is told of missing messages after it has received later ones',
      'member.fellBehind(log.room)\n        process.nextTick(replay)',
      'replay()\n        setImmediate(() => member.fellBehind(log.room))',
    ],
    [
      'a client whose replay fails is not told of missing messages',
      'if (isBehind) member.fellBehind(log.room)',
      '',
    ],
    [
      'a replay to a connection that is closed is complete',
      "resolve(endedResume('closed', replayed))",
      "resolve({ ...endedResume('closed', replayed), complete: true })",
    ],
  ),
  ...bugs(
    'history/history',
    ['a publish resolves before it is delivered', 'await this.#logs.find(room)?.reached(mark)', ''],
    ['a closed hub still counts the faults of its store', 'clearInterval(this.#faultTimer)', ''],
    [
      'a closed hub follows its rooms',
      'this.#isClosed = true\n    this.#logs.close()',
      'this.#isClosed = true',
    ],
  ),
  ...bugs('history/guarded-store', [
    'a closed hub leaves its store open',
    'this.#started.resolve()\n    await this.#store.close()',
    'this.#started.resolve()',
  ]),
  ...bugs('history/retry-timer', [
    'what the store refused is not tried again',
    'this.#timer = undefined\n        this.#retry()',
    'this.#timer = undefined',
  ]),
  ...bugs(
    'history/memory-room',
    [
      'a position counts as complete whose next message was removed',
      'if (offset < this.#offset - this.#log.length) return false',
      'if (offset < this.#offset - this.#log.length - 1) return false',
    ],
    [
      'a store does not tell a message from one that was lost',
      "return tag === '' || tag === this.#mark(offset).tag",
      'return true',
    ],
  ),
  ...bugs('hub/room-followers', [
    'a replay goes on after its connection has left',
    'this.#services.history?.left(member, room)',
    '',
  ]),
  ...bugs(
    'delivery/outbox',
    [
      'a resync begins with the latest message that was dropped',
      'if (!firsts.has(origin.log)) firsts.set(origin.log, origin)',
      'firsts.set(origin.log, origin)',
    ],
    [
      'a replay is not told that its client reads again',
      'this.#tellRoom()\n    if (!backlog.isEmpty && isCongested) return',
      'if (!backlog.isEmpty && isCongested) return',
    ],
  ),
]
