import { createHash } from 'node:crypto'
import { SCRIPT } from './page-script.ts'
import { STYLE } from './page-style.ts'

function table(id: string, title: string, heads: readonly string[], before = ''): string {
  const cells = heads.map((head) => `<th scope="col">${head}</th>`).join('')
  return `<section><h2 id="${id}-title">${title}</h2>${before}
<div class="scroll" tabindex="0" role="region" aria-labelledby="${id}-title"><table><thead><tr>${cells}</tr></thead><tbody id="${id}"></tbody></table></div></section>`
}

/** The order of a list, and the buttons that turn its pages. */
function turning(list: string, orders: Readonly<Record<string, string>>): string {
  const options = Object.entries(orders).map(([value, text]) => `<option value="${value}">${text}</option>`)
  return `<nav aria-label="Pages of ${list}"><select id="${list}-order" aria-label="Order of ${list}">${options.join('')}</select>
<button id="${list}-prev" type="button" disabled>Previous</button><button id="${list}-next" type="button" disabled>Next</button><span id="${list}-page"></span></nav>`
}

const ROOM_ORDERS = { size: 'Largest first', traffic: 'Most traffic first' }
const CLIENT_ORDERS = {
  buffered: 'Most buffered first',
  drops: 'Most drops first',
  rtt: 'Slowest pings first',
  oldest: 'Oldest first',
  newest: 'Newest first',
}

/** The page: the same bytes for everyone, without anything of the hub. */
export const PAGE = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>wshub inspector</title><meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,"><style>${STYLE}</style></head><body>
<header><h1>wshub inspector</h1><p id="state" role="status">Connecting</p></header>
<form id="find" role="search"><input id="search" type="search" aria-label="Search" placeholder="Room, address, id or metadata" maxlength="100" autocomplete="off"><button id="pause" type="button" aria-pressed="false">Pause</button></form>
<main>
<section id="follow" hidden aria-label="Followed"><h2 id="follow-name"></h2><form><button id="follow-stop" type="button">Stop following</button><span id="follow-state"></span></form>
<div class="scroll" tabindex="0" role="region" aria-labelledby="follow-name"><table><thead><tr>${['Time', 'What', 'Who', 'Bytes', 'Recipients', 'Content', 'Process'].map((head) => `<th scope="col">${head}</th>`).join('')}</tr></thead><tbody id="followed"></tbody></table></div></section>
${table('nodes', 'Nodes', ['Process', 'Node', 'State', 'Cluster', 'Clients', 'Slow', 'Rooms', 'Buffered', 'Received/s', 'Sent/s', 'CPU', 'Event loop', 'Memory'])}
${table('rooms', 'Rooms', ['Room', 'Clients', 'Messages/s', 'Deliveries/s', 'Bytes/s', 'Actions'], turning('rooms', ROOM_ORDERS))}
<form id="say" hidden><input id="room" aria-label="Room" placeholder="Room" required maxlength="1024"><input id="text" aria-label="Message" placeholder="Message" required maxlength="10000"><button>Send</button></form><p id="done" role="status"></p>
${table('clients', 'Clients', ['Id', 'Address', 'Age', 'Rooms', 'Buffered', 'RTT', 'Dropped', 'Metadata', 'Actions'], turning('clients', CLIENT_ORDERS))}
<div class="totals">${table('total-ends', 'Ended, in total', ['Cause', 'Clients'])}${table('total-refusals', 'Refused, in total', ['Code', 'Upgrades'])}${table('total-drops', 'Dropped, in total', ['Reason', 'Messages'])}</div>
${table('ends', 'Latest ends', ['Time', 'Client', 'Address', 'Reason', 'By', 'Code', 'Open for', 'Error', 'Process'])}
${table('refusals', 'Latest refusals', ['Time', 'Code', 'Status', 'Peer', 'Origin', 'Process'])}
${table('gaps', 'Latest gaps', ['Time', 'Messages', 'Process'])}
${table('errors', 'Latest errors', ['Time', 'Error', 'Process'])}
</main><script>${SCRIPT}</script></body></html>
`

const hash = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/**
 * The rules for the page's content: its one script and its one style by their hashes, its WebSocket, and
 * nothing that makes HTML of text.
 */
const POLICY = [
  "default-src 'none'",
  `script-src ${hash(SCRIPT)}`,
  `style-src ${hash(STYLE)}`,
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
]

/** The headers of the page. */
export const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'content-security-policy': POLICY.join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const
