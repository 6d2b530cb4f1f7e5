import { describe, expect, it } from 'vitest'
import { checkHandler } from '../../src/connection/event-handler.ts'

describe('checkHandler', () => {
  it('accepts callbacks, undefined callbacks, and other members of a class', () => {
    expect(() => checkHandler({ onOpen() {}, onClose: undefined })).not.toThrow()
    expect(() =>
      checkHandler(
        new (class {
          other = 1
          onOpen() {}
        })(),
      ),
    ).not.toThrow()
  })

  it.each([undefined, null, 'x', () => {}, { onMessage: 1 }, { onError: null }, { other: 1 }, []])(
    'refuses %o',
    (handler) => {
      expect(() => checkHandler(handler)).toThrow(
        expect.objectContaining({ code: 'WSHUB_ERR_INVALID_HANDLER' }),
      )
    },
  )
})
