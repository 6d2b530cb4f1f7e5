import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Dialect } from './raw-client.ts'

export type PeerName =
  | 'wshub'
  | 'ws'
  | 'Socket.IO'
  | 'crossws'
  | '@fastify/websocket'
  | 'uWebSockets.js'
  | 'Bun'

/** Settings of one of several processes. */
export type ClusterPeerName =
  | 'wshub/redis'
  | 'wshub/redis, writeDelayMs 5'
  | 'wshub/nats'
  | 'Socket.IO redis-adapter'
  | 'Socket.IO redis-adapter, sharded'
  | 'wshub/node-cluster'
  | 'Socket.IO cluster-adapter'

/** A library, and the engine that connects its nodes. */
export interface ClusterPeer {
  name: ClusterPeerName
  file: string
  dialect: Dialect
  engine: 'redis' | 'nats' | 'primary'
  /** Options for the server file's `listen`, besides the URL of the engine. */
  options: object
}

/** The contestants whose clients come back. */
export type RecoveryPeerName =
  | 'wshub, memory'
  | 'wshub, Redis'
  | 'Socket.IO'
  | 'Socket.IO recovery, memory'
  | 'Socket.IO recovery, Redis Streams'

/** A library whose clients come back, as one node or as several over Redis. */
export interface RecoveryPeer {
  name: RecoveryPeerName
  file: string
  dialect: Dialect
  isClustered: boolean
  /** Options for the server file's `listen`, besides the URL of Redis. */
  options: object
}

/** The contestants that tell who is in a room, on several nodes over Redis. */
export type PresencePeerName = 'wshub' | 'a hash in Redis' | 'Socket.IO, fetchSockets'

/** A library under measurement: the file of its server, and the program that runs it. */
export interface Peer {
  name: PeerName
  file: string
  runtime: string
  dialect: Dialect
}

const FOLDER = fileURLToPath(new URL('.', import.meta.url))
const PACKAGES = `${FOLDER}peers/node_modules/`
// uWebSockets.js is not on npm itself; this package contains its binaries.
const UWS_BINARY = `${PACKAGES}uws-pack/dist/bin/uws_${process.platform}_${process.arch}_${process.versions.modules}.node`
// The package's install script moves the binary to the first path; if install scripts do not run, it stays at
// the second.
const BUN_BINARIES = [
  `${PACKAGES}bun/bin/bun.exe`,
  `${PACKAGES}@oven/bun-${process.platform}-${process.arch === 'arm64' ? 'aarch64' : process.arch}/bin/bun`,
]

/** The peer, or `undefined` if it cannot be installed. */
export function findPeer(name: PeerName): Peer | undefined {
  if (name === 'wshub') return nodePeer(name, 'servers/wshub.mjs')
  if (name === 'ws') return nodePeer(name, 'servers/ws.mjs')
  installPeers()
  switch (name) {
    case 'Socket.IO':
      return existsSync(`${PACKAGES}socket.io`)
        ? nodePeer(name, 'peers/socket-io.mjs', 'socket.io')
        : undefined
    case 'crossws':
      return existsSync(`${PACKAGES}crossws`) ? nodePeer(name, 'peers/crossws.mjs') : undefined
    case '@fastify/websocket':
      return existsSync(`${PACKAGES}@fastify/websocket`)
        ? nodePeer(name, 'peers/fastify-websocket.mjs')
        : undefined
    case 'uWebSockets.js':
      return runs(process.execPath, '--require', UWS_BINARY, '--eval', '0')
        ? nodePeer(name, 'peers/uwebsockets.mjs')
        : undefined
    case 'Bun': {
      const runtime = BUN_BINARIES.find((binary) => runs(binary, '--version'))
      return runtime ? { ...nodePeer(name, 'peers/bun.mjs'), runtime } : undefined
    }
  }
}

export function clusterPeer(name: ClusterPeerName): ClusterPeer {
  const engine = (['redis', 'nats'] as const).find((engine) => name.includes(engine)) ?? 'primary'
  if (name.startsWith('wshub')) {
    const options = name.endsWith('writeDelayMs 5') ? { writeDelayMs: 5 } : {}
    return { name, file: `${FOLDER}servers/wshub-node.mjs`, dialect: 'plain', engine, options }
  }
  installPeers()
  const options = { isSharded: name === 'Socket.IO redis-adapter, sharded' }
  return { name, file: `${FOLDER}peers/socket-io-node.mjs`, dialect: 'socket.io', engine, options }
}

export function recoveryPeer(name: RecoveryPeerName): RecoveryPeer {
  const isClustered = name.includes('Redis')
  if (name.startsWith('wshub')) {
    return { name, file: `${FOLDER}servers/wshub-history.mjs`, dialect: 'plain', isClustered, options: {} }
  }
  installPeers()
  const options = { recovery: name.includes('recovery') }
  return { name, file: `${FOLDER}peers/socket-io-recovery.mjs`, dialect: 'socket.io', isClustered, options }
}

/** Returns the file of the node of a contestant. */
export function presencePeer(name: PresencePeerName): string {
  switch (name) {
    case 'wshub':
      return `${FOLDER}servers/wshub-presence.mjs`
    case 'a hash in Redis':
      return `${FOLDER}servers/redis-hash-presence.mjs`
    case 'Socket.IO, fetchSockets':
      installPeers()
      return `${FOLDER}peers/socket-io-presence.mjs`
  }
}

function nodePeer(name: PeerName, file: string, dialect: Dialect = 'plain'): Peer {
  return { name, file: FOLDER + file, runtime: process.execPath, dialect }
}

/** Installs the peers that are not dependencies of the package, so that its own `npm ci` stays small. */
function installPeers(): void {
  const { dependencies } = JSON.parse(readFileSync(`${FOLDER}peers/package.json`, 'utf8'))
  if (Object.keys(dependencies).every((name) => existsSync(PACKAGES + name))) return
  execFileSync('npm', ['ci', '--prefix', `${FOLDER}peers`, '--no-audit', '--no-fund'], {
    stdio: ['ignore', 2, 2],
  })
}

function runs(file: string, ...args: string[]): boolean {
  try {
    execFileSync(file, args, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
