import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const path = (file: string) => fileURLToPath(new URL(file, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^wshub$/, replacement: path('./src/index.ts') },
      { find: /^wshub\/(fastify|express|koa)$/, replacement: path('./adapters/$1.ts') },
      { find: /^wshub\/testing$/, replacement: path('./testing/index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/setup.ts'],
    testTimeout: 20_000,
    hookTimeout: 20_000,
  },
})
