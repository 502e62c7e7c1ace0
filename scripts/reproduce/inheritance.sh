#!/bin/sh
# Compares EAS and large-scale evolution with and without inherited weights, at equal training time.
#   scripts/reproduce/inheritance.sh FOLDER [SETTING=VALUE ...]
# The data are 10,000 images of CIFAR-10; each of 12 searches may train for half an hour. The same
# command again continues. Writes FOLDER/inherit and FOLDER/scratch, each with its comparison.html.
set -eu
folder=$1
shift
for evaluator in inherit scratch; do
    [ "$evaluator" = inherit ] && keep="evaluator.keep=1000" || keep=""
    nas compare evaluator=$evaluator $keep \
        'controllers=[eas,large_scale_evolution]' \
        '+settings.large_scale_evolution={population_size: 10, reset_share: 0.09}' \
        space=morphism space.slots=40 'space.kernels=[1,3,5]' \
        'space.filters=[8,16,32,48,64,96,128]' space.skips=false \
        'space.pool_after=[10,20,30]' 'space.growth.start_filters=[[8],[16],[32],[64]]' space.filled=0.0 \
        dataset=cifar10 dataset.train_size=10000 executor=serial \
        recipe.epochs=6 recipe.batch_size=64 recipe.learning_rate=0.02 \
        seeds=3 max_trials=1000 max_seconds=1800 run_dir="$folder/$evaluator" "$@"
done
