/** A program that the tests run. */
export interface Tool {
  /** Its possible names, the preferred first. */
  readonly names: readonly string[]
  /** The Debian package that contains it. */
  readonly package: string
  /** The service that the package would start at the next boot. */
  readonly service?: string
  /** Arguments with which it succeeds only if it is usable. */
  readonly probe?: readonly string[]
}

/** All tools; the set-up puts the path of each into `CHROMIUM_PATH`, `NGINX_PATH` and so on. */
export const TOOLS = {
  chromium: { names: ['chromium', 'chromium-browser', 'google-chrome'], package: 'chromium' },
  firefox: { names: ['firefox-esr', 'firefox'], package: 'firefox-esr' },
  nginx: { names: ['nginx'], package: 'nginx', service: 'nginx' },
  haproxy: { names: ['haproxy'], package: 'haproxy', service: 'haproxy' },
  nghttpx: { names: ['nghttpx'], package: 'nghttp2-proxy', service: 'nghttpx' },
  caddy: { names: ['caddy'], package: 'caddy', service: 'caddy' },
  openssl: { names: ['openssl'], package: 'openssl' },
  // A python3 found first (pyenv's) may lack the packages of Debian's.
  python: { names: ['python3'], package: 'python3-websockets', probe: ['-c', 'import websockets'] },
  redis: { names: ['redis-server'], package: 'redis-server', service: 'redis-server' },
  prometheus: { names: ['prometheus'], package: 'prometheus', service: 'prometheus' },
  promtool: { names: ['promtool'], package: 'prometheus' },
  nats: { names: ['nats-server'], package: 'nats-server', service: 'nats-server' },
} as const satisfies Readonly<Record<string, Tool>>

export type ToolName = keyof typeof TOOLS

/** The name of the environment variable with the path of a tool. */
export function variableOf(name: ToolName): string {
  return `${name.toUpperCase()}_PATH`
}

/** The path of a tool that the set-up has found. */
export function toolPath(name: ToolName): string {
  const path = process.env[variableOf(name)]
  if (path === undefined) throw new Error(`test/support/setup.ts has not set ${variableOf(name)}`)
  return path
}

/**
 * The oldest major version of Node with a built-in `WebSocket`. On an older one, the set-up puts the path of
 * such a Node into the variable.
 */
export const BUILTIN_WEBSOCKET = { major: '22', variable: 'NODE_22_PATH' } as const
