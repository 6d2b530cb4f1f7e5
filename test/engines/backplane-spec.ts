import type { Backplane } from 'wshub'

/** Describes to another process how to reach the engine of a test. */
export type BackplaneSpec =
  | { readonly engine: 'redis'; readonly port: number }
  /** `ways`: by the port of each master, the one by which it is reached. */
  | { readonly engine: 'redis-cluster'; readonly ways: readonly (readonly [master: number, by: number])[] }
  /** Connects to the first server that is up. */
  | { readonly engine: 'nats'; readonly ports: readonly number[] }
  | { readonly engine: 'node-cluster' }

/** Makes a backplane, and loads only the client of its engine, so that a process starts quickly. */
export async function backplaneOf(spec: BackplaneSpec): Promise<Backplane> {
  switch (spec.engine) {
    case 'redis': {
      const { redisBackplane } = await import('wshub/redis')
      return redisBackplane({ url: `redis://127.0.0.1:${spec.port}` })
    }
    case 'redis-cluster': {
      const { createCluster } = await import('redis')
      const { redisBackplane } = await import('wshub/redis')
      const ways = new Map(spec.ways.map(([master, by]) => [`127.0.0.1:${master}`, by]))
      const client = createCluster({
        rootNodes: spec.ways.map(([, by]) => ({ url: `redis://127.0.0.1:${by}` })),
        nodeAddressMap: (address) => {
          const port = ways.get(address)
          return port === undefined ? undefined : { host: '127.0.0.1', port }
        },
      })
      return redisBackplane({ client })
    }
    case 'nats': {
      const { natsBackplane } = await import('wshub/nats')
      return natsBackplane({ servers: spec.ports.map((port) => `127.0.0.1:${port}`), noRandomize: true })
    }
    case 'node-cluster': {
      const { nodeClusterBackplane } = await import('wshub/node-cluster')
      return nodeClusterBackplane()
    }
  }
}
