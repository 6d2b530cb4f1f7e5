import base from '../vitest.config.ts'

const tests: string[] = JSON.parse(process.env.WSHUB_MUTATE_TESTS ?? '[]') // set by mutate.mjs

/**
 * The tests for `npm run mutate`, which share a process: without those that measure its memory or its time,
 * and those that start another process, where no mutant is active.
 */
export default {
  ...base,
  test: {
    ...base.test,
    root: '.',
    projects: undefined,
    include: tests.map((path) => path.replace(/\*\*$/, '**/*.test.ts')),
    exclude: [
      'test/**/{leaving,room-churn,total-buffered,delivery-faults,header-growth,request-memory}.test.ts',
    ],
  },
}
