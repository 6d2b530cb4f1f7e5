import diagnostics from 'node:diagnostics_channel'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Hub, MemoryBackplane, MemoryBus } from 'wshub'
import { HubError } from '../../src/base/errors.ts'
import { RunningHandlers } from '../../src/base/running-handlers.ts'
import { ErrorReporter } from '../../src/hub/error-reporter.ts'
import { recordWarnings } from '../support/hub-server.ts'

describe('ErrorReporter without any onError', () => {
  it('warns about a failed call with its name and its stack', async () => {
    const warnings = recordWarnings()
    const hub = new Hub({ backplane: new MemoryBackplane(new MemoryBus()) })
    onTestFinished(() => void hub.close())
    await hub.cluster.ready()
    hub.cluster.handle('sum', () => {
      throw new RangeError('too much')
    })
    const { results } = await hub.cluster.call('sum')
    expect(results.map(({ error }) => error)).toEqual(['too much'])
    expect(await warnings.first('the warning', () => true)).toMatchObject({
      message: 'the handler of the call "sum" failed: too much',
      detail: expect.stringMatching(/^RangeError: too much\n +at .*error-reporter\.test\.ts:/),
    })
  })

  it('warns about an error that the hub found, without a stack of the hub', async () => {
    const warnings = recordWarnings()
    new ErrorReporter(new Hub(), new RunningHandlers(), undefined).report(
      new HubError('WSHUB_ERR_BACKPLANE', 'it is away'),
    )
    expect(await warnings.first('the warning', () => true)).toMatchObject({
      name: 'HubWarning',
      message: 'it is away',
      code: 'WSHUB_ERR_BACKPLANE',
      detail: undefined,
    })
  })

  it('warns about an unreadable Error with its stack', async () => {
    const warnings = recordWarnings()
    const hub = new Hub()
    onTestFinished(() => void hub.close())
    hub.cluster.handle('sum', () => {
      throw Object.defineProperty(new Error('x'), 'message', { value: 5 })
    })
    await hub.cluster.call('sum')
    expect(await warnings.first('the warning', () => true)).toMatchObject({
      code: 'WSHUB_ERR_HANDLER_THREW',
      detail: expect.stringMatching(/^Error: .\n +at .*error-reporter\.test\.ts:/),
    })
  })

  it('warns about an error of other code that works for the hub, and reports it on the channel', async () => {
    const warnings = recordWarnings()
    const hub = new Hub()
    const channel = diagnostics.channel('wshub:error')
    const messages: unknown[] = []
    const listener = (message: unknown) => messages.push(message)
    channel.subscribe(listener)
    onTestFinished(() => void channel.unsubscribe(listener))
    hub.reportError('no database', 'the job')
    const error = { code: 'WSHUB_ERR_HANDLER_THREW', message: 'the job threw "no database"' }
    expect(messages).toMatchObject([{ hub, connection: undefined, error }])
    expect((await warnings.first('the warning', () => true)).message).toBe(`the job failed: ${error.message}`)
  })

  it.each([undefined, '', Object.create(null)])(
    'refuses an error of code without a name: case %#',
    (where) => {
      expect(() => new Hub().reportError(new Error('x'), where)).toThrow(
        expect.objectContaining({ code: 'WSHUB_ERR_INVALID_OPTION' }),
      )
    },
  )

  it('shortens long texts', async () => {
    const warnings = recordWarnings()
    new ErrorReporter(new Hub(), new RunningHandlers(), undefined).report(new Error('x'.repeat(10_000)), {
      where: 'onMessage',
    })
    const warning = await warnings.first('the warning', () => true)
    expect(warning.message).toMatch(/^onMessage failed: x{1000}…$/)
    expect(warning).toMatchObject({ detail: expect.stringMatching(/^Error: x{7993}…$/) })
  })
})
