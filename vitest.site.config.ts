import { mergeConfig } from 'vitest/config'
import { SITE_TEST } from './test/support/processes.ts'
import shared from './vitest.config.ts'

const { projects: _, globalSetup: __, ...test } = shared.test ?? {}

/** The site takes half a minute of computing: `npm run test:site`. */
export default mergeConfig({ ...shared, test }, { test: { include: [SITE_TEST] } })
