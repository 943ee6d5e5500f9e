with verdicts as (

    select * from {{ ref('stg_reconcile__verdicts') }}

),

compared as (

    select
        *,
        missing + extra + changed + duplicate + null_key as keys_drifted,
        lag(verdict) over (partition by unique_id order by finished_at, run_id) as verdict_before
    from verdicts

)

select
    cast(run_id || '.' || model_name as {{ text() }}) as verdict_id,
    cast(run_id as {{ text() }}) as run_id,
    cast(model_name as {{ text() }}) as model_name,
    cast(command as {{ text() }}) as command,
    cast(verdict as {{ text() }}) as verdict,
    cast(verdict_before as {{ text() }}) as verdict_before,
    cast(scope as {{ text() }}) as scope,
    cast(keys_drifted as bigint) as keys_drifted,
    missing,
    extra,
    changed,
    duplicate,
    null_key,
    pending,
    {{ ratio('elapsed_ms', '1000') }} as seconds,
    finished_at
from compared
