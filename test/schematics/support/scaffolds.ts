// Projects like those that `nest new` makes; `npm run test:nest-add` uses real ones.
import type { Files } from './schematics.js';

interface ScaffoldOptions {
  readonly nest: 11 | 12;
}

/** Nest 11: CommonJS and ts-jest. Nest 12: ES modules and vitest. */
export function scaffold({ nest }: ScaffoldOptions): Files {
  const suffix = nest === 12 ? '.js' : '';
  return {
    '/package.json': json({
      name: 'app',
      version: '0.0.1',
      ...(nest === 12 && { type: 'module' }),
      scripts: {
        build: 'nest build',
        test: nest === 12 ? 'vitest run' : 'jest',
        'test:e2e': nest === 12 ? 'vitest run --config ./vitest.config.e2e.ts' : 'jest --config ./test/jest-e2e.json',
      },
      dependencies: {
        '@nestjs/common': `^${nest}.0.1`,
        '@nestjs/core': `^${nest}.0.1`,
        '@nestjs/platform-express': `^${nest}.0.1`,
        'nestjs-pool-manager': '^0.1.0',
        'reflect-metadata': '^0.2.2',
        rxjs: '^7.8.1',
      },
      devDependencies: {
        '@nestjs/cli': `^${nest}.0.0`,
        '@types/node': '^24.0.0',
        ...(nest === 12 ? { vitest: '^4.1.2' } : { jest: '^30.0.0', 'ts-jest': '^29.2.5' }),
      },
      ...(nest === 11 && {
        jest: {
          moduleFileExtensions: ['js', 'json', 'ts'],
          rootDir: 'src',
          testRegex: '.*\\.spec\\.ts$',
          transform: { '^.+\\.(t|j)s$': 'ts-jest' },
          testEnvironment: 'node',
        },
      }),
    }),
    '/nest-cli.json': json({
      $schema: 'https://json.schemastore.org/nest-cli',
      collection: '@nestjs/schematics',
      sourceRoot: 'src',
    }),
    '/.prettierrc': json({ singleQuote: true, trailingComma: 'all' }),
    '/src/main.ts': lines(
      `import { NestFactory } from '@nestjs/core';`,
      `import { AppModule } from './app.module${suffix}';`,
      '',
      'async function bootstrap() {',
      '  const app = await NestFactory.create(AppModule);',
      '  await app.listen(process.env.PORT ?? 3000);',
      '}',
      nest === 12 ? 'await bootstrap();' : 'bootstrap();',
    ),
    '/src/app.module.ts': lines(
      `import { Module } from '@nestjs/common';`,
      `import { AppController } from './app.controller${suffix}';`,
      `import { AppService } from './app.service${suffix}';`,
      '',
      '@Module({',
      '  imports: [],',
      '  controllers: [AppController],',
      '  providers: [AppService],',
      '})',
      'export class AppModule {}',
    ),
    '/src/app.controller.ts': lines(
      `import { Controller, Get } from '@nestjs/common';`,
      `import { AppService } from './app.service${suffix}';`,
      '',
      '@Controller()',
      'export class AppController {',
      '  constructor(private readonly appService: AppService) {}',
      '',
      '  @Get()',
      '  getHello(): string {',
      '    return this.appService.getHello();',
      '  }',
      '}',
    ),
    '/src/app.service.ts': lines(
      `import { Injectable } from '@nestjs/common';`,
      '',
      '@Injectable()',
      'export class AppService {',
      '  getHello(): string {',
      `    return 'Hello World!';`,
      '  }',
      '}',
    ),
    ...(nest === 11 && {
      '/test/jest-e2e.json': lines(
        '{',
        '  "moduleFileExtensions": ["js", "json", "ts"],',
        '  "rootDir": ".",',
        '  "testEnvironment": "node",',
        '  "testRegex": ".e2e-spec.ts$",',
        '  "transform": {',
        String.raw`    "^.+\\.(t|j)s$": "ts-jest"`,
        '  }',
        '}',
      ),
    }),
  };
}

export function lines(...text: readonly string[]): string {
  return `${text.join('\n')}\n`;
}

export function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
