import { createHash } from 'node:crypto'

const STYLE = `
:root{color-scheme:light dark;font:15px/1.4 system-ui,sans-serif}
body{margin:0 auto;max-width:70rem;padding:1rem}
h1{font-size:1.3rem}h2{font-size:1rem;margin:1.5rem 0 .3rem}
form{display:flex;flex-wrap:wrap;gap:.5rem;margin:.5rem 0}
input,button{font:inherit;padding:.3rem .6rem;min-height:2.2rem;box-sizing:border-box}
input{flex:1 1 10rem;min-width:0}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid color-mix(in srgb,currentColor 25%,transparent);vertical-align:top}
td{overflow-wrap:anywhere;min-width:4rem}
:focus-visible{outline:3px solid Highlight;outline-offset:2px}
`

// Names, addresses and metadata come from clients: only textContent and value are ever set from them.
const SCRIPT = `
'use strict'
const token = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('')
const at = (id) => document.getElementById(id)
let socket, paused = false, delay = 1000
const send = (message) => { if (socket && socket.readyState === 1) socket.send(JSON.stringify(message)) }
const view = () => send({ type: 'view', token, search: at('search').value })
function fill(id, rows, cells) {
  const body = at(id)
  const focus = body.contains(document.activeElement) ? document.activeElement.dataset.id : undefined
  body.replaceChildren(...rows.map((row) => {
    const line = document.createElement('tr')
    for (const cell of cells(row)) {
      const td = document.createElement('td')
      if (cell instanceof Node) td.append(cell); else td.textContent = String(cell)
      line.append(td)
    }
    return line
  }))
  if (focus !== undefined) for (const button of body.querySelectorAll('button')) if (button.dataset.id === focus) button.focus()
}
function action(text, id, run) {
  const button = document.createElement('button')
  button.textContent = text
  button.dataset.id = id
  button.setAttribute('aria-label', text + ' ' + id)
  button.addEventListener('click', run)
  return button
}
function show({ nodes, missing }) {
  fill('nodes', nodes, (n) => [n.node, n.state + ', ' + n.cluster, n.connections, n.slow, n.roomCount, n.bufferedBytes, n.received, n.sent, n.closed, n.refused])
  const sizes = new Map()
  for (const n of nodes) for (const r of n.rooms) sizes.set(r.room, (sizes.get(r.room) ?? 0) + r.size)
  fill('rooms', [...sizes].sort((a, b) => b[1] - a[1]).slice(0, 50), ([room, size]) => [room, size, action('Choose', room, () => { at('room').value = room; at('text').focus() })])
  fill('clients', nodes.flatMap((n) => n.clients).sort((a, b) => b.bufferedBytes - a.bufferedBytes).slice(0, 50), (c) => [
    c.id + (c.isInspector ? ' (inspector)' : ''), c.address, c.rooms.join(', ') + (c.moreRooms ? ' and ' + c.moreRooms + ' more' : ''),
    c.bufferedBytes, c.rttMs < 0 ? '' : c.rttMs + ' ms', c.dropped, c.metadata,
    action('Disconnect', c.id, () => { if (confirm('Disconnect ' + c.id + '?')) send({ type: 'disconnect', target: c.id }) })])
  for (const kind of ['ends', 'refusals', 'gaps']) {
    const events = nodes.flatMap((n) => n[kind]).sort((a, b) => b.at - a.at).slice(0, 50)
    fill(kind, events, (e) => [new Date(e.at).toLocaleTimeString(), e.text])
  }
  const sum = (key) => nodes.reduce((total, n) => total + n[key], 0)
  at('matches').textContent = sum('matchingRooms') + ' rooms (each node counted), ' + sum('matchingClients') + ' clients match'
  at('state').textContent = 'Live' + (missing.length ? '; no answer from ' + missing.join(', ') : '')
}
function open() {
  socket = new WebSocket(location.href.replace(/^http/, 'ws').replace(/#.*/, ''))
  socket.addEventListener('open', () => { delay = 1000; view() })
  socket.addEventListener('message', ({ data }) => {
    let message
    try { message = JSON.parse(data) } catch { return }
    if (message === null || message.token !== token) return
    if (message.done) at('done').textContent = message.done
    else if (!paused) show(message)
  })
  socket.addEventListener('close', () => {
    at('state').textContent = 'Not connected'
    setTimeout(open, delay)
    delay = Math.min(delay * 2, 30000)
  })
}
at('search').addEventListener('input', view)
at('find').addEventListener('submit', (event) => event.preventDefault())
at('pause').addEventListener('click', () => { paused = !paused; at('pause').setAttribute('aria-pressed', String(paused)) })
at('say').addEventListener('submit', (event) => {
  event.preventDefault()
  send({ type: 'send', target: at('room').value, text: at('text').value })
})
open()
`

const table = (id: string, title: string, heads: readonly string[]) =>
  `<h2 id="${id}-title">${title}</h2><div class="scroll" tabindex="0" role="region" aria-labelledby="${id}-title"><table><thead><tr>${heads
    .map((head) => `<th scope="col">${head}</th>`)
    .join('')}</tr></thead><tbody id="${id}"></tbody></table></div>`

/** The page: the same bytes for everyone, without anything of the hub. */
export const PAGE = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>wshub inspector</title><meta name="viewport" content="width=device-width,initial-scale=1"><style>${STYLE}</style></head><body><h1>wshub inspector</h1><p id="state" role="status">Connecting</p>
<form id="find"><input id="search" type="search" aria-label="Search" placeholder="Room, address or id" maxlength="100"><button id="pause" type="button" aria-pressed="false">Pause</button></form><p id="matches"></p>
${table('nodes', 'Nodes', ['Node', 'State', 'Clients', 'Slow', 'Rooms', 'Buffered bytes', 'Received', 'Sent', 'Closed', 'Refused'])}
${table('rooms', 'Rooms, largest first', ['Room', 'Clients', ''])}
<form id="say"><input id="room" aria-label="Room" placeholder="Room" required><input id="text" aria-label="Message" placeholder="Message" required><button>Send</button></form><p id="done" role="status"></p>
${table('clients', 'Clients, slowest first', ['Id', 'Address', 'Rooms', 'Buffered bytes', 'RTT', 'Dropped', 'Metadata', ''])}
${table('ends', 'Latest ends', ['Time', 'Cause'])}
${table('refusals', 'Refusals', ['Time', 'Reason'])}
${table('gaps', 'Gaps', ['Time', 'Gap'])}
<script>${SCRIPT}</script></body></html>
`

const hash = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** The headers of the page: its policy names its one script and its one style by their hashes. */
export const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'content-security-policy': `default-src 'none'; script-src ${hash(SCRIPT)}; style-src ${hash(STYLE)}; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const
