import { expect, it } from 'vitest'
import { NotSent } from '../../adapters/redis/not-sent.ts'
import { ScriptRunner } from '../../adapters/redis/script-runner.ts'

const SCRIPT = { text: 'return 1', sha: 'sha', keys: 0 }

it.each([
  ['was not sent', new NotSent('not connected')],
  ['Redis has refused', new Error('LOADING Redis is loading the dataset in memory')],
])('a script that %s comes with its text the next time', async (_why, error) => {
  const commands: unknown[] = []
  const replies = [Promise.reject(error)]
  const runner = new ScriptRunner(([command]) => {
    commands.push(command)
    return replies.shift() ?? Promise.resolve('reply')
  })
  const run = () => runner.run(SCRIPT, [], [], 0)
  await expect(run()).rejects.toBe(error)
  expect(await Promise.all([run(), run()])).toEqual(['reply', 'reply'])
  expect(commands).toEqual(['EVAL', 'EVAL', 'EVALSHA'])
})
