import { Firefox } from '../support/firefox.ts'
import { describeRuntime } from './runtimes.ts'

describeRuntime(
  'Firefox',
  async () => {
    const firefox = await Firefox.launch()
    return {
      begin: (origin) => firefox.goto(origin),
      evaluate: (program) => firefox.evaluate(program),
      close: () => firefox.close(),
    }
  },
  true,
)
