import { createHash } from 'node:crypto'

/** A Lua script and its name in the script cache of a server. */
export interface Script {
  readonly text: string
  readonly sha: string
  /** How many of the keys of a room it takes, the head first. */
  readonly keys: number
}

/** Entries that a script reads at once: each may be as large as a message. */
const PAGE = 32

// The head of a room is a string: epoch, offset and tag of the latest message, the bytes of all records so
// far, and the time (ms) and the bytes from which on the script looks for messages to trim.
//
// The id of an entry of the stream is its offset. It has two fields: the record by its tag, and the bytes of
// all records up to this one by the time (ms). More entries than the room's limits may be kept: readers know
// better, and one more is needed for the tag of the message before the oldest.

const HEAD = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local head = redis.call('GET', KEYS[1])
local epoch, n, tag, c, x, y
if head then epoch, n, tag, c, x, y = string.match(head, '^(%S+) (%d+) (%S*) (%d+) (%d+) (%d+)$') end
`

/**
 * Appends a record and publishes it. KEYS: head, stream. ARGV: record, tag, an epoch in case there is none,
 * channel, PUBLISH or SPUBLISH, most messages, most ms, most bytes, ms for which the head is kept. Returns
 * epoch, offset and tag, and a space behind each.
 */
export const APPEND = script(
  2,
  `${HEAD}
local isNew = not epoch
if isNew then epoch, n, c, x, y = ARGV[3], 0, 0, 0, 0 end
local function add()
  return redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6] + 1, n .. '-0', ARGV[2], ARGV[1], now, c)
end
n, c = string.format('%.0f', n + 1), string.format('%.0f', c + #ARGV[1])
if isNew then redis.call('DEL', KEYS[2]) end
local added = add()
if type(added) == 'table' and added.err then
  if not string.find(added.err, 'smaller than', 1, true) then return added end
  -- The head and the stream do not belong together: another life begins.
  redis.call('DEL', KEYS[2])
  epoch, n, c, x, y, isNew = ARGV[3], '1', string.format('%.0f', #ARGV[1]), 0, 0, true
  added = add()
  if type(added) == 'table' and added.err then return added end
end
local keep = 'KEEPTTL'
if now >= tonumber(x) or tonumber(c) >= tonumber(y) then
  local maxAge, maxBytes = tonumber(ARGV[7]), tonumber(ARGV[8])
  local old, floor = now - maxAge, c - maxBytes
  local excess, from, isDone = 0, 0, false
  for _ = 1, 32 do
    local page = redis.call('XRANGE', KEYS[2], string.format('%.0f-0', from), '+', 'COUNT', ${PAGE})
    for _, entry in ipairs(page) do
      local fields = entry[2]
      if tonumber(fields[3]) > old and tonumber(fields[4]) > floor then isDone = true break end
      excess = excess + 1
      from = tonumber(string.match(entry[1], '^%d+')) + 1
    end
    if isDone or #page < ${PAGE} then isDone = true break end
  end
  if excess > 1 then redis.call('XTRIM', KEYS[2], 'MAXLEN', '=', redis.call('XLEN', KEYS[2]) - excess + 1) end
  if isDone then
    x, y = string.format('%.0f', now + maxAge / 16), string.format('%.0f', c + math.ceil(maxBytes / 16))
  end
  redis.call('PEXPIRE', KEYS[2], string.format('%.0f', maxAge + maxAge / 8))
  keep = nil
end
local mark = epoch .. ' ' .. n .. ' ' .. ARGV[2] .. ' '
if keep then redis.call('SET', KEYS[1], mark .. c .. ' ' .. x .. ' ' .. y, keep)
else redis.call('SET', KEYS[1], mark .. c .. ' ' .. x .. ' ' .. y, 'PX', ARGV[9]) end
redis.call(ARGV[5], ARGV[4], mark .. ARGV[1])
return mark
`,
)

/**
 * Reads messages. KEYS: head, stream. ARGV: an epoch in case there is none, ms for which the head is kept,
 * epoch, offset and tag of the message to read after (an empty epoch = none), how many of the latest, most
 * messages and bytes of this read, most messages and ms of the room, 1 when the message to read after was
 * delivered: another epoch begins when it was lost. Returns epoch, offset and tag of the latest message, 1 or
 * 0 for complete or not, and offset, tag and record of each message.
 */
export const READ = script(
  2,
  `${HEAD}
if not epoch then
  redis.call('DEL', KEYS[2])
  epoch, n, tag = ARGV[1], '0', ''
  redis.call('SET', KEYS[1], epoch .. ' 0  0 0 0', 'PX', ARGV[2])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
local result, incomplete = {epoch, n, tag, 1}, {epoch, n, tag, 0}
n = tonumber(n)
local afterEpoch, after, afterTag = ARGV[3], tonumber(ARGV[4]), ARGV[5]
local old, oldest = now - tonumber(ARGV[10]), n - tonumber(ARGV[9]) + 1
-- The message to read after was lost.
local function lost()
  if ARGV[11] == '1' then
    incomplete[1] = ARGV[1]
    redis.call('SET', KEYS[1], table.concat({ARGV[1], incomplete[2], tag, c, x, y}, ' '), 'PX', ARGV[2])
  end
  return incomplete
end
local from, isFirst
if afterEpoch ~= '' then
  if afterEpoch ~= epoch then return incomplete end
  if after > n then return lost() end
  if after == n then
    if afterTag ~= '' and afterTag ~= tag then return lost() end
    return result
  end
  if after + 1 < oldest then return incomplete end
  from, isFirst = after, true
else
  local last = tonumber(ARGV[6])
  if last == 0 then return result end
  from, isFirst = math.max(n - last + 1, oldest, 1), false
end
local most, room = tonumber(ARGV[7]), tonumber(ARGV[8])
local count, isFull = 0, false
while not isFull do
  local page = redis.call('XRANGE', KEYS[2], string.format('%.0f-0', from), '+', 'COUNT', ${PAGE})
  for _, entry in ipairs(page) do
    local fields = entry[2]
    local offset = tonumber(string.match(entry[1], '^%d+'))
    if isFirst and offset == after then
      if afterTag ~= '' and fields[1] ~= afterTag then return lost() end
    else
      local isOld = tonumber(fields[3]) <= old
      if isFirst then
        -- Where the message before is not kept, its tag cannot be compared.
        local isNext = offset == after + 1 and (from > after or afterTag == '' or after == 0)
        if not isNext or isOld then return incomplete end
        isFirst = false
      elseif afterEpoch ~= '' and offset ~= from then
        return incomplete -- a message was deleted
      end
      if not (isOld and count == 0) then
        if count == most or (count > 0 and #fields[2] > room) then isFull = true break end
        count, room = count + 1, room - #fields[2]
        result[#result + 1] = string.format('%.0f', offset)
        result[#result + 1] = fields[1]
        result[#result + 1] = fields[2]
      end
    end
    from = offset + 1
  end
  if #page < ${PAGE} then break end
end
if isFirst or (afterEpoch ~= '' and not isFull and from <= n) then return incomplete end
return result
`,
)

/**
 * Returns epoch, offset and tag of the latest message of a room, and a space behind each; nil for a room
 * without a head. Keeps the head at least so long. KEYS: head. ARGV: ms.
 */
export const LATEST = script(
  1,
  `
local head = redis.call('GET', KEYS[1])
if not head then return false end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return string.match(head, '^%S+ %d+ %S* ')
`,
)

function script(keys: number, text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex'), keys }
}
