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

// The head of a room is a string: four doubles, which are the offset of the latest message, the bytes of all
// records so far, and the time (ms) and the bytes from which on the script looks for messages to trim; then
// the epoch, and the tag of the latest message.
//
// The id of an entry of the stream is its offset. It has two fields: the record by its tag, and the bytes of
// all records up to this one by the time (ms). More entries than the room's limits may be kept: readers know
// better, and one more is needed for the tag of the message before the oldest.

/** Characters of an epoch. */
export const EPOCH_LENGTH = 12
const EPOCH_END = 32 + EPOCH_LENGTH

const HEAD = `
local head = redis.call('GET', KEYS[1])
local n, c, x, y, epoch, tag
if head and #head >= ${EPOCH_END} then
  n, c, x, y = struct.unpack('>dddd', head)
  epoch, tag = string.sub(head, 33, ${EPOCH_END}), string.sub(head, ${EPOCH_END + 1})
end
`

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/**
 * Appends records and publishes them as one message. KEYS: head, stream. ARGV: the records, their lengths
 * with commas between, a tag for them, an epoch in case there is none, channel, PUBLISH or SPUBLISH, most
 * entries, most ms, most bytes, ms for which the head is kept. Publishes epoch, offset of the first, tag and
 * lengths, a space behind each, and the records. Returns epoch, offset and tag of the last, likewise.
 */
export const APPEND = script(
  2,
  `${HEAD}${NOW}
tag = ARGV[3]
if not epoch then
  epoch, n, c, x, y = ARGV[4], 0, 0, 0, 0
  redis.call('DEL', KEYS[2])
end
local function add(record)
  n, c = n + 1, c + #record
  return redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[7], n .. '-0', tag, record, now, c)
end
local first
local function store(record)
  local added = add(record)
  if type(added) == 'table' then
    -- What the first one meets with, the others would, too: none is stored.
    if first or not string.find(added.err, 'smaller than', 1, true) then return added end
    -- The head and the stream do not belong together: another life begins.
    redis.call('DEL', KEYS[2])
    epoch, n, c, x, y = ARGV[4], 0, 0, 0, 0
    added = add(record)
    if type(added) == 'table' then return added end
  end
  first = first or n
end
if tonumber(ARGV[2]) then
  -- One record, as there is no comma. Not to cut it out makes the script 4 % faster (bench -- history-redis).
  local failed = store(ARGV[1])
  if failed then return failed end
else
  local at = 1
  for length in string.gmatch(ARGV[2], '%d+') do
    local failed = store(string.sub(ARGV[1], at, at + length - 1))
    if failed then return failed end
    at = at + length
  end
end
local isKept = now < x and c < y
if not isKept then
  local maxAge, maxBytes = tonumber(ARGV[8]), tonumber(ARGV[9])
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
  if isDone then x, y = now + maxAge / 16, c + maxBytes / 16 end
  redis.call('PEXPIRE', KEYS[2], string.format('%.0f', maxAge + maxAge / 8))
end
head = struct.pack('>dddd', n, c, x, y) .. epoch .. tag
-- SETRANGE keeps the expiry, and takes the least time.
if isKept then redis.call('SETRANGE', KEYS[1], 0, head)
else redis.call('SET', KEYS[1], head, 'PX', ARGV[10]) end
redis.call(ARGV[6], ARGV[5], epoch .. ' ' .. first .. ' ' .. tag .. ' ' .. ARGV[2] .. ' ' .. ARGV[1])
return epoch .. ' ' .. n .. ' ' .. tag .. ' '
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
  `${HEAD}${NOW}
local function save()
  redis.call('SET', KEYS[1], struct.pack('>dddd', n, c, x, y) .. epoch .. tag, 'PX', ARGV[2])
end
if not epoch then
  redis.call('DEL', KEYS[2])
  n, c, x, y, epoch, tag = 0, 0, 0, 0, ARGV[1], ''
  save()
else
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
local result, incomplete = {epoch, n, tag, 1}, {epoch, n, tag, 0}
local afterEpoch, after, afterTag = ARGV[3], tonumber(ARGV[4]), ARGV[5]
local old, oldest = now - tonumber(ARGV[10]), n - tonumber(ARGV[9]) + 1
-- The message to read after was lost.
local function lost()
  if ARGV[11] == '1' then
    epoch = ARGV[1]
    incomplete[1] = epoch
    save()
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
  `${HEAD}
if not epoch then return false end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return epoch .. ' ' .. n .. ' ' .. tag .. ' '
`,
)

function script(keys: number, text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex'), keys }
}
