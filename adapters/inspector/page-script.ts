/**
 * The script of the page. Names, addresses, metadata and messages come from clients: only `textContent` and
 * `value` are ever set from them, and characters that cannot be seen are shown as escapes.
 */
export const SCRIPT = String.raw`
'use strict'
const at = (id) => document.getElementById(id)
const token = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('')
const query = { search: '', roomOrder: 'size', roomPage: 0, clientOrder: 'buffered', clientPage: 0 }
const canHover = matchMedia('(hover: hover)').matches
const LOG_ROWS = 200
let socket, follow = null, samples = [], sampleCount = 0, older = 0, sayTo, paused = false, connected = false, delay = 1000, may = {}, last
const hosts = new Map()

// What cannot be seen, or turns the text; marks without a letter; spaces that HTML drops; and what looks like
// one of these escapes.
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800\ufffc\u{1d159}]|(?<=^\p{M}*)\p{M}|(?! )\p{Zs}|^ | $|(?<= ) |\\(?=u)/gu
const hex = (c) => c.codePointAt(0).toString(16)
const visible = (value) => String(value).replace(HIDDEN, (c) => c.codePointAt(0) > 0xffff ? '\\u{' + hex(c) + '}' : '\\u' + hex(c).padStart(4, '0'))
const listOf = (names) => names.map((each) => (/[,"]/.test(each) ? JSON.stringify(each) : each)).join(', ')
const setText = (element, value) => { const text = visible(value); if (element.textContent !== text) element.textContent = text }
const send = (message) => { if (socket && socket.readyState === 1) socket.send(JSON.stringify(message)) }
const status = (text, isBad) => { setText(at('state'), text); at('state').className = isBad ? 'bad' : '' }
const view = () => send({ type: 'view', token, query, follow })

const count = (n) => n.toLocaleString()
const bytes = (n) => n < 1000 ? n + ' B' : n < 1e6 ? (n / 1e3).toFixed(1) + ' kB' : n < 1e9 ? (n / 1e6).toFixed(1) + ' MB' : (n / 1e9).toFixed(1) + ' GB'
const time = (ms) => new Date(ms).toLocaleTimeString()
function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000))
  if (s < 60) return s + ' s'
  if (s < 3600) return Math.floor(s / 60) + ' min ' + s % 60 + ' s'
  if (s < 86400) return Math.floor(s / 3600) + ' h ' + Math.floor(s / 60) % 60 + ' min'
  return Math.floor(s / 86400) + ' d ' + Math.floor(s / 3600) % 24 + ' h'
}
const number = (text) => ({ text, of: 'number' })
const name = (text) => ({ text, of: 'name' })
const wrong = (text, isWrong) => ({ text, of: isWrong ? 'bad' : '' })
const label = (report) => report.host + ' ' + report.pid

// Rows stay in their place while the pointer or the keyboard's focus is among them, so that no button moves
// from under it.
const isHeld = (body) => body.querySelector(':focus-visible') !== null || (canHover && body.matches(':hover'))
function cellsOf(line, cells) {
  cells.forEach((cell, i) => {
    const td = line.cells[i]
    if (Array.isArray(cell)) return
    const { text, of } = typeof cell === 'object' ? cell : { text: cell, of: '' }
    setText(td, text)
    if (td.className !== of) td.className = of
  })
}
function lineOf(body, key, cells) {
  const line = document.createElement('tr')
  line.key = key
  const heads = body.parentElement.tHead.rows[0].cells
  cells.forEach((cell, i) => {
    const td = line.insertCell()
    td.dataset.label = heads[i].textContent
    if (!Array.isArray(cell)) return
    td.className = 'actions'
    for (const [text, name, run] of cell) {
      const button = document.createElement('button')
      button.type = 'button'
      button.textContent = text
      button.setAttribute('aria-label', text + ' ' + visible(name))
      button.addEventListener('click', run)
      td.append(button)
    }
  })
  return line
}
function fill(id, rows, keyOf, toCells) {
  const body = at(id)
  const lines = new Map(Array.from(body.rows, (line) => [line.key, line]))
  if (lines.size > 0 && isHeld(body)) {
    for (const row of rows) { const line = lines.get(keyOf(row)); if (line) cellsOf(line, toCells(row)) }
    return
  }
  const wanted = rows.map((row) => {
    const key = keyOf(row)
    const cells = toCells(row)
    const line = lines.get(key) ?? lineOf(body, key, cells)
    lines.delete(key)
    cellsOf(line, cells)
    return line
  })
  for (const line of lines.values()) line.remove()
  wanted.forEach((line, i) => { if (body.rows[i] !== line) body.insertBefore(line, body.rows[i] ?? null) })
}
function turn(list, { matching, page, pages }, what, more) {
  setText(at(list + '-page'), count(matching) + ' ' + what + ', page ' + (page + 1) + ' of ' + pages + more)
  at(list + '-prev').disabled = page === 0
  at(list + '-next').disabled = page + 1 >= pages
}
function totals(id, nodes, pairsOf) {
  const sums = new Map()
  for (const node of nodes) for (const [key, n] of pairsOf(node)) if (n > 0) sums.set(key, (sums.get(key) ?? 0) + n)
  fill(id, [...sums].sort((a, b) => b[1] - a[1]), ([key]) => key, ([key, n]) => [key, number(count(n))])
}
function choose(kind, target) {
  follow = kind === undefined ? null : { kind, target }
  samples = []
  older = 0
  at('follow').hidden = follow === null
  at('followed').replaceChildren()
  if (follow !== null) {
    setText(at('follow-name'), (kind === 'room' ? 'Room ' : 'Client ') + target)
    at('follow-stop').focus()
  }
  view()
}
const names = (ids) => ids.map((id) => hosts.get(id) ?? id).join(', ')
const on = (e) => hosts.get(e.node) ?? e.node
// Also while the page is paused: each event is sent once.
function take({ follow: of, followed, nodes }) {
  if (hosts.size > 1000) hosts.clear()
  for (const n of nodes) hosts.set(n.node, label(n))
  if (follow === null || of === null || of.target !== follow.target || of.kind !== follow.kind) return
  const news = followed.samples.map((e) => ({ ...e, key: ++sampleCount }))
  if (followed.skipped > 0) news.push({ at: news[news.length - 1].at, what: 'left out', who: count(followed.skipped) + ' more', bytes: 0, recipients: 0, payload: '', key: ++sampleCount })
  samples = [...news.reverse(), ...samples]
  older += Math.max(0, samples.length - LOG_ROWS)
  samples = samples.slice(0, LOG_ROWS)
}
function show(snapshot) {
  permit(snapshot.may)
  const { nodes, rooms, clients, followed, missing, without, self } = snapshot
  if (!snapshot.isSearching) {
    query.roomPage = rooms.page
    query.clientPage = clients.page
  }
  fill('nodes', nodes, (n) => n.node, (n) => [
    name(label(n) + (n.node === self ? ' (this one)' : '')), name(n.node), wrong(n.state, n.state !== 'open'), wrong(n.cluster, n.cluster !== 'connected'),
    number(count(n.connections)), wrong(count(n.slow), n.slow > 0), number(count(n.rooms)), number(bytes(n.bufferedBytes)), number(count(n.received)), number(count(n.sent)),
    number(n.cpuPercent + ' %'), number(n.loopPercent + ' %'), number(bytes(n.memoryBytes))])
  fill('rooms', rooms.rows, (r) => r.room, (r) => [r.room, number(count(r.size)), number(count(r.messages)), number(count(r.deliveries)), number(bytes(r.bytes)), [
    ['Follow', r.room, () => choose('room', r.room)],
    ...(may.send ? [['Send', r.room, () => { sayTo = at('room').value = r.room; at('text').focus() }]] : [])]])
  const uncounted = nodes.reduce((sum, n) => sum + n.uncounted, 0)
  turn('rooms', rooms, 'rooms', uncounted > 0 ? '; ' + count(uncounted) + ' deliveries/s are to rooms that are too many to count' : '')
  fill('clients', clients.rows, (c) => c.id, (c) => [
    name(c.id + (c.isInspector ? ' (inspector)' : '')), name(c.address), number(span(c.ageMs)),
    listOf(c.rooms) + (c.moreRooms > 0 ? ' and ' + c.moreRooms + ' more' : ''),
    number(bytes(c.bufferedBytes)), number(c.rttMs < 0 ? '' : c.rttMs + ' ms'), number(count(c.dropped)), c.metadata, [
      ...(c.isInspector ? [] : [['Follow', c.id, () => choose('client', c.id)]]),
      ...(may.disconnect ? [['Disconnect', c.id, () => { if (confirm('Disconnect ' + visible(c.id) + ' (' + visible(c.address) + ')?')) send({ type: 'disconnect', target: c.id }) }]] : [])]])
  turn('clients', clients, 'clients', snapshot.isSearching ? '; still searching' : '')
  totals('total-ends', nodes, (n) => n.causes.map((c) => [c.reason + ' by ' + c.by, c.connections]))
  totals('total-refusals', nodes, (n) => Object.entries(n.refused))
  totals('total-drops', nodes, (n) => Object.entries(n.dropped))
  const keyOf = (e) => JSON.stringify(e)
  fill('ends', snapshot.ends, keyOf, (e) => [time(e.at), e.client, e.address, e.reason, e.by, number(e.code), number(span(e.openMs)), e.error, on(e)])
  fill('refusals', snapshot.refusals, keyOf, (e) => [time(e.at), e.code, number(e.status), e.peer, e.origin, on(e)])
  for (const kind of ['gaps', 'errors']) fill(kind, snapshot[kind], keyOf, (e) => [time(e.at), e.text, on(e)])
  if (follow !== null && snapshot.follow !== null && snapshot.follow.target === follow.target && snapshot.follow.kind === follow.kind) {
    const end = older > 0 ? [{ what: 'left out', who: count(older) + ' older', bytes: 0, recipients: 0, payload: '', key: 'older' }] : []
    fill('followed', [...samples, ...end], (e) => e.key, (e) => [e.at ? time(e.at) : '', e.what, e.who, number(e.bytes > 0 ? bytes(e.bytes) : ''), number(e.what === 'broadcast' ? count(e.recipients) : ''), { text: e.payload, of: 'payload' }, e.node ? on(e) : ''])
    setText(at('follow-state'), (followed.isHere ? 'Live.' : 'Nobody is there now.') + (followed.notBy.length > 0 ? ' Not on ' + names(followed.notBy) + ', where too much is followed.' : '') + (may.payloads ? '' : ' You may not see what messages contain.'))
  }
  status('Live' + (missing.length > 0 ? '; no answer from ' + names(missing) : '') + (without.length > 0 ? '; no inspector on ' + names(without) : ''), missing.length + without.length > 0)
}
function permit(given) {
  if (JSON.stringify(given) === JSON.stringify(may)) return
  may = given
  for (const id of ['rooms', 'clients']) at(id).replaceChildren() // their buttons
  at('say').hidden = !may.send
}
function open() {
  socket = new WebSocket(location.href.replace(/^http/, 'ws').replace(/#.*/, ''))
  let hasOpened = false
  socket.addEventListener('open', () => {
    hasOpened = connected = true
    delay = 1000
    status(paused ? 'Paused' : 'Connected')
    view()
  })
  socket.addEventListener('message', ({ data }) => {
    let message
    try { message = JSON.parse(data) } catch { return }
    if (message === null || message.token !== token) return // of the application
    if (message.done !== undefined) return setText(at('done'), message.done + (message.missing ? ' ' + names(message.missing) + '.' : ''))
    last = message
    take(message)
    if (!paused) show(message)
  })
  socket.addEventListener('close', async ({ reason }) => {
    connected = false
    if (hasOpened && follow !== null) samples.unshift({ at: 0, what: 'not connected', who: 'until the page was connected again, events are missing', bytes: 0, recipients: 0, payload: '', key: ++sampleCount })
    setTimeout(open, delay)
    delay = Math.min(delay * 2, 30000)
    status('Not connected. ' + (reason === '' ? '' : 'Closed: ' + reason + '. ') + 'Trying again; reload the page if that does not help.', true)
    if (hasOpened) return
    const text = await why()
    if (!connected) status('Not connected. ' + text + ' Trying again.', true)
  })
}
// A browser does not tell a page why its WebSocket was refused.
async function why() {
  try {
    const options = { headers: { accept: 'text/plain' }, redirect: 'manual', cache: 'no-store', signal: AbortSignal.timeout(5000) }
    const answer = await fetch(location.pathname + location.search, options)
    if (answer.type === 'opaqueredirect') return 'The server redirects the page: log in again, and reload it.'
    const isText = (answer.headers.get('content-type') ?? '').startsWith('text/plain')
    return answer.status + ': ' + (isText ? (await answer.text()).trim().slice(0, 200) : 'reload the page.')
  } catch {
    return 'The server does not answer.'
  }
}
at('search').addEventListener('input', () => { query.search = at('search').value; query.roomPage = 0; query.clientPage = 0; view() })
at('find').addEventListener('submit', (event) => event.preventDefault())
at('pause').addEventListener('click', () => {
  paused = !paused
  at('pause').setAttribute('aria-pressed', String(paused))
  if (paused && connected) status('Paused')
  else if (connected && last !== undefined) show(last)
})
for (const [list, order, page] of [['rooms', 'roomOrder', 'roomPage'], ['clients', 'clientOrder', 'clientPage']]) {
  at(list + '-order').addEventListener('change', (event) => { query[order] = event.target.value; query[page] = 0; view() })
  at(list + '-prev').addEventListener('click', () => { query[page] = Math.max(0, query[page] - 1); view() })
  at(list + '-next').addEventListener('click', () => { query[page]++; view() })
}
at('follow-stop').addEventListener('click', () => { choose(); at('search').focus() })
at('room').addEventListener('input', () => { sayTo = undefined })
at('say').addEventListener('submit', (event) => {
  event.preventDefault()
  // A name may have characters that the field drops.
  send({ type: 'send', target: sayTo ?? at('room').value, text: at('text').value })
})
document.addEventListener('keydown', (event) => {
  if (event.key !== '/' || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return
  event.preventDefault()
  at('search').focus()
})
open()
`
