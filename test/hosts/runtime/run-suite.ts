/** Runs one bundled file of tests on Bun or Deno, and prints a line of JSON for each test. */
import { pathToFileURL } from 'node:url'
import { startTests, type Task, type VitestRunner } from '@vitest/runner'
import { TEST_MS } from '../../support/in-time.ts'

const [, , root = '', file = '', skipped = '[]'] = process.argv
const left: readonly string[] = JSON.parse(skipped)

const runner: VitestRunner = {
  config: {
    root,
    setupFiles: [],
    name: undefined,
    passWithNoTests: false,
    testNamePattern: undefined,
    allowOnly: false,
    sequence: { seed: 0, hooks: 'stack', setupFiles: 'list' },
    chaiConfig: undefined,
    maxConcurrency: 1,
    testTimeout: TEST_MS,
    hookTimeout: TEST_MS,
    retry: 0,
    includeTaskLocation: false,
    tags: [],
    tagsFilter: undefined,
    strictTags: false,
  },
  importFile: (path) => import(pathToFileURL(path).href),
  onBeforeRunTask(task) {
    const name = nameOf(task)
    if (!left.some((part) => name.includes(part))) return
    task.mode = 'skip'
    print(name, { result: { state: 'skip' } })
  },
  onAfterRunTask: (task) => print(nameOf(task), task),
}

const [done] = await startTests([file], runner)
if (done?.result?.errors !== undefined) print('the file', done)
console.log(JSON.stringify({ isDone: true }))
process.exit(0)

function print(name: string, { result }: Pick<Task, 'result'>): void {
  const errors = result?.errors?.map(({ message }) => message) ?? []
  console.log(JSON.stringify({ name, state: result?.state, errors }))
}

function nameOf(task: Task): string {
  return task.suite === undefined ? task.name : `${nameOf(task.suite)} > ${task.name}`
}
