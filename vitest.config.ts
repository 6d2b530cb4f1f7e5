import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { TEST_MS } from './test/support/in-time.ts'
import { LongestFirst } from './test/support/longest-first.ts'
import { testFiles } from './test/support/processes.ts'

const { shared, own } = testFiles()
const path = (file: string) => fileURLToPath(new URL(file, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^wshub$/, replacement: path('./src/index.ts') },
      { find: /^wshub\/protocol$/, replacement: path('./src/protocol.ts') },
      { find: /^wshub\/(fastify|express|koa|hono|h3)$/, replacement: path('./adapters/$1.ts') },
      {
        find: /^wshub\/(redis|nats|nest|node-cluster|prometheus|opentelemetry|log|inspector)$/,
        replacement: path('./adapters/$1/$1.ts'),
      },
      { find: /^wshub\/client$/, replacement: path('./client/client.ts') },
      { find: /^wshub\/testing$/, replacement: path('./testing/index.ts') },
      { find: /^wshub\/testing\/history$/, replacement: path('./testing/history/history-contract.ts') },
      { find: /^wshub\/testing\/backplane$/, replacement: path('./testing/backplane/backplane-contract.ts') },
    ],
  },
  test: {
    globalSetup: ['test/support/setup.ts'],
    maxWorkers: 10, // most tests wait for something; on two cores the default is one
    sequence: { sequencer: LongestFirst },
    testTimeout: TEST_MS,
    hookTimeout: TEST_MS,
    projects: [
      { extends: true, test: { name: 'own', include: own } },
      { extends: true, test: { name: 'shared', include: shared, isolate: false } },
    ],
  },
})
