// node digest-node.mjs builtin | undici | ws <url>: a digest client in a process of its own.
import { digestClient } from './digest-client.mjs'

const [kind, url] = process.argv.slice(2)
const { WebSocket } = kind === 'builtin' ? globalThis : await import(kind)
digestClient(WebSocket, url, kind)
