/**
 * The report on the public face, docs/nestjs-pool-manager.api.md: each name that the package exports, with its
 * signature as in the declarations that were last built. What a change does to the public face is a change of that
 * file.
 *
 * Refused beside a report that is out of date: a signature that names a type which is not exported, and an export, or a
 * member of one, without a doc comment. Options are declared by schemas, which stay inside the package; the README's
 * tables show what is in them.
 *
 * Usage: node scripts/api-report.mjs [--check] With --check the report is not written; exits with 1 when it is out of
 * date, after printing the difference.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import { ConsoleMessageId, Extractor, ExtractorConfig, ExtractorLogLevel } from '@microsoft/api-extractor';

const root = fileURLToPath(new URL('..', import.meta.url));
const check = process.argv.includes('--check');
const temporary = mkdtempSync(join(tmpdir(), 'api-report-'));
process.on('exit', () => rmSync(temporary, { recursive: true }));

/** The schemas of options, and the shapes that they are made of. */
const schema = /^The symbol "\w+(Shape|Schema)" needs to be exported/;

/** Each error has a code; PoolError says what it is for. */
const inherited = 'Missing documentation for "code".';

const extractorConfig = ExtractorConfig.prepare({
  configObjectFullPath: undefined,
  packageJsonFullPath: join(root, 'package.json'),
  configObject: {
    projectFolder: root,
    mainEntryPointFilePath: '<projectFolder>/dist/lib/index.d.ts',
    newlineKind: 'lf',
    compiler: { tsconfigFilePath: '<projectFolder>/tsconfig.build.json' },
    apiReport: {
      enabled: true,
      reportFileName: '<unscopedPackageName>',
      reportFolder: '<projectFolder>/docs',
      reportTempFolder: temporary,
    },
    docModel: { enabled: false },
    dtsRollup: { enabled: false },
    tsdocMetadata: { enabled: false },
    messages: {
      compilerMessageReporting: { default: { logLevel: ExtractorLogLevel.Error } },
      extractorMessageReporting: {
        default: { logLevel: ExtractorLogLevel.Error },
        // What is exported is public.
        'ae-missing-release-tag': { logLevel: ExtractorLogLevel.None },
        // Links are written as editors resolve them, from the place where they stand.
        'ae-unresolved-link': { logLevel: ExtractorLogLevel.None },
      },
      tsdocMessageReporting: { default: { logLevel: ExtractorLogLevel.None } },
    },
  },
});

let problems = 0;
const { succeeded } = Extractor.invoke(extractorConfig, {
  localBuild: !check,
  printApiReportDiff: true,
  messageCallback: (message) => {
    const { messageId, text, sourceFilePath, sourceFileLine } = message;
    switch (messageId) {
      case 'ae-forgotten-export':
        if (schema.test(text)) message.logLevel = ExtractorLogLevel.None;
        break;
      case 'ae-undocumented':
        if (text === inherited) message.logLevel = ExtractorLogLevel.None;
        break;
      case ConsoleMessageId.Preamble:
        message.logLevel = ExtractorLogLevel.None;
        break;
      case ConsoleMessageId.ApiReportNotCopied:
        message.handled = true;
        problems++;
        console.error('The public face has changed. Look at what the difference says, then run: npm run api-report');
        break;
    }
    if (sourceFilePath !== undefined && message.logLevel === ExtractorLogLevel.Error) {
      message.handled = true;
      problems++;
      console.error(`${relative(root, sourceFilePath)}:${sourceFileLine}: ${text}`);
    }
  },
});
process.exitCode = succeeded && problems === 0 ? 0 : 1;
