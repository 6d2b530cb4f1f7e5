import { mergeConfig } from 'vitest/config'
import { HOST_TESTS } from './test/support/processes.ts'
import shared from './vitest.config.ts'

const { projects: _, ...test } = shared.test ?? {}

/** The hosts that take more than two seconds, or are heavy to install: `npm run test:hosts`. */
export default mergeConfig({ ...shared, test }, { test: { include: [HOST_TESTS], maxWorkers: 2 } })
