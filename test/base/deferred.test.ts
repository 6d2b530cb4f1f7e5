import { expect, it } from 'vitest'
import { deferred } from '../../src/base/deferred.ts'

it('a deferred promise resolves with the value of its owner', async () => {
  const { promise, resolve } = deferred<number>()
  resolve(7)
  await expect(promise).resolves.toBe(7)
})

it('a deferred promise rejects with the error of its owner', async () => {
  const { promise, reject } = deferred()
  const error = new Error('x')
  reject(error)
  await expect(promise).rejects.toBe(error)
})
